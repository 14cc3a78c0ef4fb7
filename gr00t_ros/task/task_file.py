# SPDX-License-Identifier: Apache-2.0
"""Goals of RunPolicy as people write them: a YAML file, or an instruction and some enders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gr00t_ros.action import RunPolicy
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.msg import Ender, Subtask
from gr00t_ros.task.ender_goal import ender_from, ender_message

SUBTASK_FIELDS = {"instruction": str, "enders": list, "combine": str, "time_limit_s": float}
GOAL_FIELDS = {**SUBTASK_FIELDS, "subtasks": list, "go_on_after_failure": bool, "policy": dict}
KINDS = {str: "text", list: "a list", float: "a number", bool: "true or false", dict: "a map"}


def goal_from_text(instruction: str, enders: Sequence[str], policy: str = "") -> RunPolicy.Goal:
    """Make the goal of one instruction.

    Args:
        instruction: What the policy is asked to do.
        enders: Each in one line of YAML, ``joint: {joint: gripper, below: 0.013}``.
        policy: Parameters of the policy for this goal, in YAML.

    Raises:
        ValueError: An ender is not such a line, or something is not text.
    """
    for text in (instruction, policy, *enders):
        _plain(text, str, "the command line")
    messages = [ender_message(text) for text in enders]
    return RunPolicy.Goal(instruction=instruction, enders=messages, policy=policy)


def goal_from_file(path: str | Path) -> RunPolicy.Goal:
    """Read a goal from a YAML file, whose fields are those of the action.

    An ender is a map with its ``type``, its settings, and maybe its ``outcome``.

    Raises:
        ValueError: The file cannot be read, or is not a goal; says why.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    try:
        return goal_from(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def goal_from(content: Any) -> RunPolicy.Goal:
    """Make a goal from a map as YAML has it.

    Raises:
        ValueError: It is not a goal; names what is wrong.
    """
    fields = _checked(content, GOAL_FIELDS, "")
    policy = fields.pop("policy", None)
    subtasks = fields.pop("subtasks", [])
    goal = RunPolicy.Goal(**_with_enders(fields, ""))
    goal.subtasks = [_subtask(item, f"subtasks[{i}]") for i, item in enumerate(subtasks)]
    goal.policy = yaml.safe_dump(policy, default_flow_style=True).strip() if policy else ""
    return goal


def _subtask(content: Any, where: str) -> Subtask:
    return Subtask(**_with_enders(_checked(content, SUBTASK_FIELDS, f"{where}."), f"{where}."))


def _with_enders(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    enders = fields.get("enders", [])
    messages = [_ender(item, f"{prefix}enders[{i}]") for i, item in enumerate(enders)]
    return {**fields, "enders": messages}


def _ender(content: Any, where: str) -> Ender:
    if not isinstance(content, dict) or "type" not in content:
        raise ValueError(f"{where}: must be a map with a type, got {content!r}")
    settings = {name: value for name, value in content.items() if name != "type"}
    return ender_from(content["type"], settings)


def _checked(content: Any, fields: Mapping[str, type], prefix: str) -> dict[str, Any]:
    """A map with known fields of the right types; whole numbers as numbers."""
    if not isinstance(content, dict):
        raise ValueError(f"{prefix or 'the goal '}must be a map, got {content!r}")
    for name, value in content.items():
        if name not in fields:
            raise ValueError(f"{prefix}{name}: no such field{did_you_mean(str(name), fields)}")
        kind = (int, float) if fields[name] is float else fields[name]
        if not isinstance(value, kind) or (fields[name] is float and isinstance(value, bool)):
            raise ValueError(f"{prefix}{name}: must be {KINDS[fields[name]]}, got {value!r}")
    return {name: _plain(value, fields[name], f"{prefix}{name}") for name, value in content.items()}


def _plain(value: Any, kind: type, where: str) -> Any:
    """A value as a message takes it.

    Raises:
        ValueError: No message can hold it.
    """
    try:
        if kind is str and "\0" in value.encode().decode():  # a message would end there
            raise ValueError(f"{where}: {value!r} is not text that can be sent")
        return float(value) if kind is float else value
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {value!r} is not text that can be sent") from None
    except OverflowError:
        raise ValueError(f"{where}: the number is too large") from None
