# SPDX-License-Identifier: Apache-2.0
"""Makes the limits of joints, poses and twists from the parameters of an action. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_ros.contract.conditions import MEASURED
from gr00t_ros.contract.parameter import Settings
from gr00t_ros.interfaces.interface import CommandInterface, LimitedBy

BODY_LIMIT_FIELDS = tuple(field.name for field in fields(BodyLimits))
# The parameter of each field of JointLimits, in its order.
LIMIT_PARAMETERS = {
    "lower": "min_position",
    "upper": "max_position",
    "velocity": "max_velocity",
    "acceleration": "max_acceleration",
    "jerk": "max_jerk",
}
LIMIT_FIELDS = tuple(LIMIT_PARAMETERS.values())


def limit_problems(command: CommandInterface, settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem with the limits of an action.

    Args:
        command: The interface of the action.
        settings: The action's parameters by short name.
    """
    joints = _limited_joints(command)
    sizes = {name: len(floats(settings[name])) for name in LIMIT_FIELDS}
    wrong = {name: size for name, size in sizes.items() if joints and size not in (1, joints)}
    for name, size in wrong.items():
        yield f"{name} has {size} values, expected 1 or {joints}"
    yield from _following_problems(command, settings)
    if not wrong:
        try:
            joint_limits(command, settings)
        except ValueError as error:
            yield str(error)


def joint_limits(command: CommandInterface, settings: Settings) -> tuple[JointLimits, ...]:
    """Return the limits of each joint of an action, in rad (or m) and s; empty without joints.

    Raises:
        ValueError: A range is empty, or a limit is not above zero.
    """
    joints = _limited_joints(command)
    if not joints:
        return ()
    columns = [np.broadcast_to(floats(settings[name]), joints).tolist() for name in LIMIT_FIELDS]
    return tuple(JointLimits(*row) for row in zip(*columns, strict=True))


def limits_given(values: Mapping[str, Any], entry: str) -> frozenset[str]:
    """Return the fields of `JointLimits` that the user's parameters of an action set."""
    return frozenset(
        field for field, name in LIMIT_PARAMETERS.items() if f"{entry}.{name}" in values
    )


def following_errors(command: CommandInterface, settings: Settings) -> tuple[float, ...]:
    """Return the largest following error of each joint or pose, rad and m; infinite for none."""
    if not MEASURED.holds(command, settings):
        return ()
    values = floats(settings["max_following_error"])
    size = max(1, len(command.joints))
    return tuple(value or math.inf for value in np.broadcast_to(values, size).tolist())


def body_limits(command: CommandInterface, settings: Settings) -> BodyLimits | None:
    """Return the limits of a pose or a twist, in m, rad and s; None for any other action."""
    if command.limited_by is not LimitedBy.BODY_LIMITS:
        return None
    return BodyLimits(**{name: float(settings[f"max_{name}"]) for name in BODY_LIMIT_FIELDS})


def floats(value: Any) -> tuple[float, ...]:
    """Return the numbers of a parameter that may be one number or a list."""
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)


def _limited_joints(command: CommandInterface) -> int:
    return len(command.joints) if command.limited_by is LimitedBy.JOINT_LIMITS else 0


def _following_problems(command: CommandInterface, settings: Settings) -> Iterator[str]:
    values = floats(settings["max_following_error"])
    size = max(1, len(command.joints))
    if len(values) not in (1, size):
        yield f"max_following_error has {len(values)} values, expected 1 or {size}"
    if min(values) < 0.0:
        yield f"max_following_error must be >= 0, got {list(values)}"
