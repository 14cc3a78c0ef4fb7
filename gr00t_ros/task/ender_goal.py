# SPDX-License-Identifier: Apache-2.0
"""One ender of a goal, checked; and enders as people write them in one line of YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gr00t_ros.contract.class_names import UnknownTypeError
from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.contract.parameter_checks import value_problem
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.msg import Ender as EnderMessage
from gr00t_ros.task.ender import Ender
from gr00t_ros.task.ender_registry import find_ender
from gr00t_ros.task.outcome import Outcome

OUTCOMES = {outcome.text: outcome for outcome in Outcome}
MAX_SETTINGS = 10_000  # characters of YAML


@dataclass(frozen=True, slots=True)
class EnderGoal:
    """One ender of a goal.

    Args:
        text: Its type and settings, as the goal has them.
        cls: Its class.
        settings: The value of each of its parameters.
        outcome: What its end means.
    """

    text: str
    cls: type[Ender]
    settings: Settings
    outcome: Outcome

    def make(self) -> Ender:
        """Make the ender for one run of its subtask."""
        return self.cls(self.settings)


def read_ender(message: EnderMessage) -> EnderGoal:
    """Check one ender.

    Raises:
        ValueError: It cannot be made; says why.
    """
    try:
        cls = find_ender(message.type)
    except UnknownTypeError as error:
        raise ValueError(str(error)) from error
    given = yaml_map(message.settings)
    settings = {p.name: given.get(p.name, p.default) for p in cls.parameters}
    problems = [*_unknown(given, cls.parameters), *_wrong_values(settings, cls.parameters)]
    if problems:
        raise ValueError("; ".join(problems))
    if message.outcome and message.outcome not in OUTCOMES:
        raise ValueError(f"outcome must be one of {' | '.join(OUTCOMES)}, got {message.outcome!r}")
    outcome = OUTCOMES[message.outcome] if message.outcome else cls.outcome
    text = f"{message.type} {message.settings}".strip()
    goal = EnderGoal(text, cls, settings, outcome)
    goal.make()  # settings that contradict each other
    return goal


def ender_message(text: str) -> EnderMessage:
    """The message of an ender that is written in one line, ``joint: {joint: gripper, above: 0.1}``.

    ``outcome`` may stand among the settings.

    Raises:
        ValueError: It is not such a line; says why.
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{text!r} is not YAML: {_one_line(error)}") from error
    if isinstance(content, str):
        return EnderMessage(type=content)
    if not isinstance(content, dict) or len(content) != 1:
        raise ValueError(
            f"must be a type and its settings, such as `time: {{after_s: 5}}`, got {text!r}"
        )
    ((kind, settings),) = content.items()
    return ender_from(kind, settings or {})


def ender_from(kind: object, settings: object) -> EnderMessage:
    """The message of an ender of a type, with settings of which `outcome` may be one.

    Raises:
        ValueError: The type is not text, or the settings are not a map.
    """
    if not isinstance(kind, str) or not isinstance(settings, dict):
        raise ValueError(f"an ender is a type and a map of settings, got {kind!r} and {settings!r}")
    rest = {name: value for name, value in settings.items() if name != "outcome"}
    written = yaml.safe_dump(rest, default_flow_style=True, width=math.inf).strip() if rest else ""
    return EnderMessage(type=kind, settings=written, outcome=str(settings.get("outcome", "")))


def _unknown(given: Mapping[str, Any], parameters: Sequence[Parameter]) -> Iterator[str]:
    known = [parameter.name for parameter in parameters]
    for name in sorted(set(given) - set(known)):
        yield f"{name}: no such setting{did_you_mean(name, known)}"


def _wrong_values(settings: Settings, parameters: Sequence[Parameter]) -> Iterator[str]:
    for parameter in parameters:
        value = settings[parameter.name]
        is_nan = isinstance(value, float) and math.isnan(value)
        problem = "must be a number, got nan" if is_nan else value_problem(parameter, value)
        if problem:
            yield f"{parameter.name}: {problem}"


def yaml_map(text: str) -> dict[str, Any]:
    """The map that a text of YAML is; empty for no text.

    Raises:
        ValueError: It is not a map with names as keys.
    """
    if len(text) > MAX_SETTINGS:
        raise ValueError(f"settings are longer than {MAX_SETTINGS} characters")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"settings are not YAML: {_one_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"settings must be a YAML map such as {{for_s: 1.0}}, got {text!r}")
    return content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
