# SPDX-License-Identifier: Apache-2.0
"""Checks single parameters: their names, their values, and their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from gr00t_ros.contract.entry_checks import is_of_another_entry, misplacement_problems
from gr00t_ros.contract.entry_parameters import TYPE
from gr00t_ros.contract.parameter import ActionCondition, AnyOf, Condition, Parameter, Settings
from gr00t_ros.contract.parameters import (
    ROS_PARAMETERS,
    TOP,
    Entry,
    entries,
    parameters_for,
)
from gr00t_ros.interfaces.interface import CommandInterface

# What rcl accepts as a topic (design.ros2.org/articles/topic_and_service_names.html). It raises for
# any other name, and reports only the first one.
_TOPIC = re.compile(r"(~/|/)?{token}(/{token})*".format(token=r"[A-Za-z_{}][A-Za-z0-9_{}]*"))

# What YAML calls nothing, and rcl reads as a text of these letters.
_NULLS = frozenset({"null", "Null", "NULL", "~"})


def unknown_names(values: Mapping[str, Any]) -> list[str]:
    """The names that are neither a parameter of the table nor one of ROS itself."""
    unknown = set(values).difference(parameter.name for parameter in parameters_for(values))
    return sorted(name for name in unknown if name.split(".")[0] not in ROS_PARAMETERS)


def name_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each name that is not a parameter of its entry, with a suggestion."""
    known = [parameter.name for parameter in parameters_for(values)]
    by_name = {entry.name: entry for entry in entries(values)}
    for name in unknown_names(values):
        entry_name, _, field = name.rpartition(".")
        entry = by_name.get(entry_name)
        if entry is not None and is_of_another_entry(entry, field, values):
            yield from misplacement_problems(entry, field, values)
            continue
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        yield f"{name}: no such parameter{hint}"


def faulty_names(problems: Iterable[str]) -> set[str]:
    """The names of the parameters and entries that problems begin with."""
    return {problem.partition(":")[0].partition(" ")[0] for problem in problems}


def without_faulty_entries(values: Mapping[str, Any], problems: Iterable[str]) -> Mapping[str, Any]:
    """The parameters without the entries that have a problem, and without unknown names.

    Of the others, those that are right by themselves.

    Args:
        values: The user's parameters.
        problems: What is wrong with them, each sentence with its parameter or entry first.
    """
    unknown = set(unknown_names(values))
    faulty = faulty_names(problems) - unknown
    bad = [
        e.name for e in entries(values) if any(f"{one}.".startswith(f"{e.name}.") for one in faulty)
    ]
    return {
        name: value
        for name, value in values.items()
        if not unknown.union(faulty).intersection((name, name.removesuffix(".topic")))
        and not any(name.startswith(f"{entry}.") for entry in bad)
    }


def value_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each value that is not allowed; `type_problems` checks the types."""
    for parameter in parameters_for(values):
        name, field = parameter.name, parameter.name.rpartition(".")[2]
        if field == TYPE.name:
            continue
        problem = value_problem(parameter, values.get(name, parameter.default))
        if problem is not None:
            yield f"{name.removesuffix('.topic')}: {problem}"


def value_problem(parameter: Parameter, value: Any) -> str | None:
    """Return what is wrong with a value (its type, range or choices), or None."""
    name = parameter.name
    if parameter.required and value in ("", 0, 0.0, []):
        return f"no {name.rpartition('.')[2]} given"
    if parameter.choices and not _is_chosen(parameter, value):
        allowed = " | ".join(choice for choice in parameter.choices if choice)
        quantity = "a list of some" if isinstance(parameter.default, list) else "one"
        return f"must be {quantity} of {allowed}, got {value!r}"
    if not _has_type_of(parameter, value):
        return f"must be {_type_name(parameter)}, got {value!r}"
    for text in _texts(parameter, value):
        if text in _NULLS:
            field = name.rpartition(".")[2]
            return f'{field} {text} is a text to ROS: give a value, or "" for none'
    for topic in _topics(name, value):
        if not _TOPIC.fullmatch(topic):
            return f"{topic!r} is not a valid topic name"
    if _is_list_of_numbers(parameter):
        is_fine = np.isfinite if np.isfinite(parameter.default).all() else _is_number
        if not is_fine(value).all():
            return f"must be finite, got {value!r}"
    if parameter.minimum is not None and parameter.maximum is not None:
        items = value if isinstance(value, list) else [value]
        if not all(parameter.minimum <= item <= parameter.maximum for item in items):
            return f"must be {parameter.minimum:g} to {parameter.maximum:g}, got {value!r}"
    return None


def top_use_problems(
    given: Mapping[str, Any],
    settings: Settings,
    commands: Iterable[tuple[CommandInterface, Settings]],
) -> Iterator[str]:
    """Yield a sentence for each given top-level parameter that cannot have an effect.

    A parameter that asks for nothing (false, 0, an empty text or list) is accepted.

    Args:
        given: The values that the user gave, by full name.
        settings: The values of all parameters by full name, each of them allowed.
        commands: The interface of each action with its parameters by short name.
    """
    commands = list(commands)
    for parameter in TOP:
        condition = parameter.only_with
        if condition is None or parameter.name not in given:
            continue
        asks = _asks_for_something(parameter, given[parameter.name])
        if asks and not _holds(condition, settings, commands):
            yield _no_effect(parameter.name, f"only with {condition.text}")


def _holds(
    condition: Condition | ActionCondition | AnyOf,
    settings: Settings,
    commands: Sequence[tuple[CommandInterface, Settings]],
) -> bool:
    if isinstance(condition, AnyOf):
        return any(_holds(one, settings, commands) for one in condition.conditions)
    if isinstance(condition, Condition):
        return condition.holds(settings)
    return any(condition.holds(*command) for command in commands)


def action_use_problems(
    entry: Entry, given: Mapping[str, Any], command: CommandInterface, settings: Settings
) -> Iterator[str]:
    """Yield a sentence for each given parameter of an action that cannot have an effect.

    Args:
        entry: The action and the parameters that it may have.
        given: The values that the user gave, by full name.
        command: The interface of the action.
        settings: The action's parameters by short name, defaults included.
    """
    for parameter in entry.parameters:
        name, condition = f"{entry.name}.{parameter.name}", parameter.only_with
        if not isinstance(condition, ActionCondition) or name not in given:
            continue
        if _asks_for_something(parameter, given[name]) and not condition.holds(command, settings):
            yield _no_effect(name, f"only with {condition.text}")


def _no_effect(name: str, where: str) -> str:
    return f"{name}: has no effect here, {where}; leave it out"


def _asks_for_something(parameter: Parameter, value: Any) -> bool:
    is_limit = isinstance(parameter.default, list) and parameter.default  # 0 is one, too
    return bool(value) or bool(is_limit)


def _topics(name: str, value: Any) -> list[str]:
    if name.endswith("topics"):
        return list(value)
    return [value] if name.endswith("topic") and value else []


def _texts(parameter: Parameter, value: Any) -> list[str]:
    """A text, or a list of topics; a joint may have any name."""
    return [value] if isinstance(value, str) else _topics(parameter.name, value)


def _is_number(value: Any) -> Any:
    return ~np.isnan(value)


def _is_chosen(parameter: Parameter, value: Any) -> bool:
    if not isinstance(parameter.default, list):
        return value in parameter.choices
    return isinstance(value, list) and all(item in parameter.choices for item in value)


def _is_list_of_numbers(parameter: Parameter) -> bool:
    """Whether it is a list that may also be a single number, such as scale."""
    default = parameter.default
    return isinstance(default, list) and bool(default) and isinstance(default[0], float)


def _is_list_of_indices(parameter: Parameter) -> bool:
    return parameter.default == [] and parameter.minimum is not None


def _has_type_of(parameter: Parameter, value: Any) -> bool:
    if _is_list_of_numbers(parameter):
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(_is_of_kind(0.0, item) for item in values)
    if isinstance(parameter.default, list):
        kind: Any = 0 if _is_list_of_indices(parameter) else ""
        return isinstance(value, list) and all(_is_of_kind(kind, item) for item in value)
    return _is_of_kind(parameter.default, value)


def _is_of_kind(example: Any, value: Any) -> bool:
    if isinstance(example, bool) or isinstance(value, bool):
        return isinstance(example, bool) and isinstance(value, bool)
    if isinstance(example, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(example))


def _type_name(parameter: Parameter) -> str:
    if _is_list_of_numbers(parameter):
        return "a number or a list of numbers"
    if isinstance(parameter.default, list):
        return "a list of whole numbers" if _is_list_of_indices(parameter) else "a list of names"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names[type(parameter.default)]
