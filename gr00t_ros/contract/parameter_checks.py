# SPDX-License-Identifier: Apache-2.0
"""What is wrong with single parameters: their names, their values, and their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from gr00t_ros.contract.parameter_uses import Settings
from gr00t_ros.contract.parameters import ROS_PARAMETERS, Parameter, parameters_for

# What rcl takes as a topic (design.ros2.org/articles/topic_and_service_names.html); it raises for
# any other, and tells only about the first.
_TOPIC = re.compile(r"(~/|/)?{token}(/{token})*".format(token=r"[A-Za-z_{}][A-Za-z0-9_{}]*"))


def unknown_names(names: Iterable[str]) -> list[str]:
    """The names that are neither a parameter of the table nor one of ROS itself."""
    names = list(names)
    unknown = set(names).difference(parameter.name for parameter in parameters_for(names))
    return sorted(name for name in unknown if name.split(".")[0] not in ROS_PARAMETERS)


def name_problems(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that is no parameter, with the one that was probably meant."""
    names = list(names)
    known = [parameter.name for parameter in parameters_for(names)]
    for name in unknown_names(names):
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        yield f"{name}: no such parameter{hint}"


def value_problem(parameter: Parameter, value: Any) -> str | None:
    """What is wrong with a value, or None: its type, its range, its choices."""
    name = parameter.name
    if parameter.required and value in ("", 0, 0.0):
        return f"no {name.rpartition('.')[2]} given"
    if parameter.choices and value not in parameter.choices:
        allowed = " | ".join(choice for choice in parameter.choices if choice)
        return f"must be one of {allowed}, got {value!r}"
    if not _has_type_of(parameter.default, value):
        return f"must be {_type_name(parameter.default)}, got {value!r}"
    if name.endswith("topic") and value and not _TOPIC.fullmatch(value):
        return f"{value!r} is no name of a topic"
    if isinstance(parameter.default, list) and parameter.default:
        is_fine = np.isfinite if np.isfinite(parameter.default).all() else _is_number
        if not is_fine(value).all():
            return f"must be finite, got {value!r}"
    if parameter.minimum is not None and not parameter.minimum <= value <= parameter.maximum:
        return f"must be {parameter.minimum:g} to {parameter.maximum:g}, got {value!r}"
    return None


def use_problems(given: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """A sentence for each parameter that was given and cannot have an effect.

    One that asks for nothing (false, 0, no text, an empty list) is let pass.

    Args:
        given: The values that the user gave.
        settings: The values of all parameters, each of them allowed.
    """
    for parameter in parameters_for(given):
        name, use = parameter.name, parameter.only_with
        if use is None or name not in given:
            continue
        value = given[name]
        is_limit = isinstance(parameter.default, list) and parameter.default  # 0 is one, too
        asks_for_nothing = not value and not is_limit
        if not asks_for_nothing and not use.holds(settings, f"{name.rpartition('.')[0]}."):
            yield f"{name}: has no effect here, only with {use.text}; leave it out"


def _is_number(value: Any) -> Any:
    return ~np.isnan(value)


def _has_type_of(default: Any, value: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, list) and default:  # scale and offset: a lone number serves as well
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(_has_type_of(0.0, item) for item in values)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, type(default))


def _type_name(default: Any) -> str:
    if isinstance(default, list):
        return "a number or a list of numbers" if default else "a list of names"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[
        type(default)
    ]
