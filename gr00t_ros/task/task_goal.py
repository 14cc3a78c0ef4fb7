# SPDX-License-Identifier: Apache-2.0
"""A goal of RunPolicy, checked: its subtasks, their enders and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import SpecError
from gr00t_ros.action import RunPolicy
from gr00t_ros.contract.policy_parameters import POLICY_PARAMETERS
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.msg import Ender as EnderMessage
from gr00t_ros.msg import Subtask as SubtaskMessage
from gr00t_ros.task.ender_goal import EnderGoal, read_ender, yaml_map

POLICY_PREFIX = "policy."
COMBINATIONS = ("", "any", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskGoal:
    """One instruction of a goal.

    Args:
        instruction: What the policy is asked to do.
        enders: What ends it.
        needs_all: Whether all enders must be satisfied at once, and not just one of them.
        time_limit_s: Longest duration, s; inf for none.
    """

    instruction: str
    enders: tuple[EnderGoal, ...]
    needs_all: bool
    time_limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGoal:
    """What a client asks for.

    Args:
        subtasks: The instructions in order, at least one.
        time_limit_s: Longest duration of all of them, s; inf for none.
        goes_on: Whether the next subtask follows after one that failed.
        policy: Parameters of the policy node for this goal, by full name; empty for none.
    """

    subtasks: tuple[SubtaskGoal, ...]
    time_limit_s: float
    goes_on: bool
    policy: Mapping[str, Any] = field(default_factory=dict)


def read_goal(
    message: RunPolicy.Goal, *, default_enders: Sequence[EnderMessage], default_limit_s: float
) -> TaskGoal:
    """Check a goal.

    Args:
        message: The goal of the client.
        default_enders: The enders of a subtask that names none.
        default_limit_s: The time limit of a goal that gives none, s; 0 for none.

    Raises:
        SpecError: The goal cannot be run; one sentence for each problem.
    """
    problems: list[str] = []
    subtasks = list(_subtasks(message, default_enders, problems))
    limit_s = _limit_s(message.time_limit_s, "time_limit_s", problems)
    if math.isinf(limit_s) and default_limit_s > 0.0:
        limit_s = default_limit_s
    policy = _policy(message.policy, problems)
    if problems:
        raise SpecError("bad goal", problems)
    return TaskGoal(
        subtasks=tuple(subtasks),
        time_limit_s=limit_s,
        goes_on=message.go_on_after_failure,
        policy=policy,
    )


def _subtasks(
    message: RunPolicy.Goal, default_enders: Sequence[EnderMessage], problems: list[str]
) -> Iterator[SubtaskGoal]:
    single = SubtaskMessage(
        instruction=message.instruction, enders=message.enders, combine=message.combine
    )
    if not message.subtasks:
        yield _subtask(single, "", default_enders, problems)
        return
    if message.instruction or message.enders or message.combine:
        problems.append("instruction, enders and combine belong into each subtask where there are")
    for index, subtask in enumerate(message.subtasks):
        yield _subtask(subtask, f"subtasks[{index}].", default_enders, problems)


def _subtask(
    message: SubtaskMessage,
    prefix: str,
    default_enders: Sequence[EnderMessage],
    problems: list[str],
) -> SubtaskGoal:
    if not message.instruction.strip():
        problems.append(f"{prefix}instruction: is empty; say what the policy is to do")
    if message.combine not in COMBINATIONS:
        problems.append(f"{prefix}combine: must be any or all, got {message.combine!r}")
    enders: list[EnderGoal] = []
    for index, ender in enumerate(message.enders or default_enders):
        try:
            enders.append(read_ender(ender))
        except ValueError as error:
            problems.append(f"{prefix}enders[{index}] ({ender.type}): {error}")
    return SubtaskGoal(
        instruction=message.instruction,
        enders=tuple(enders),
        needs_all=message.combine == "all",
        time_limit_s=_limit_s(message.time_limit_s, f"{prefix}time_limit_s", problems),
    )


def _limit_s(limit_s: float, name: str, problems: list[str]) -> float:
    if not 0.0 <= limit_s < math.inf:
        problems.append(f"{name}: must be a number of seconds >= 0, got {limit_s}")
    return limit_s or math.inf


def _policy(text: str, problems: list[str]) -> dict[str, Any]:
    """The parameters of the policy node by full name; the node checks their values itself."""
    known = [p.name.removeprefix(POLICY_PREFIX) for p in POLICY_PARAMETERS]
    try:
        given = yaml_map(text)
    except ValueError as error:
        problems.append(f"policy: {error}")
        return {}
    for name in sorted(set(given) - set(known)):
        problems.append(f"policy: {name}: no such parameter{did_you_mean(name, known)}")
    if "host" in given:
        given.setdefault("hosts", [])  # those of the configuration would contradict it
    return {f"{POLICY_PREFIX}{name}": value for name, value in given.items()}
