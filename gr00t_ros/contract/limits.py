# SPDX-License-Identifier: Apache-2.0
"""The limits of a contract: parameters to joint limits and to those of poses and twists. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_ros.contract.parameter_uses import BODY_INTERFACES, LIMITED, MEASURED
from gr00t_ros.contract.parameters import ACTION

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


def limit_problems(settings: Mapping[str, Any], keys: list[str]) -> Iterator[str]:
    """A sentence for everything that is wrong with the limits of these action keys."""
    for key in keys:
        prefix = f"{ACTION}.{key}"
        joints = _limited_joints(settings, prefix)
        sizes = {name: len(floats(settings[f"{prefix}.{name}"])) for name in LIMIT_FIELDS}
        wrong = {name: size for name, size in sizes.items() if joints and size not in (1, joints)}
        for name, size in wrong.items():
            yield f"{prefix}: {name} has {size} values, expected 1 or {joints}"
        yield from _following_problems(settings, prefix)
        if not wrong:
            try:
                joint_limits(settings, prefix)
            except ValueError as error:
                yield f"{prefix}: {error}"


def joint_limits(settings: Mapping[str, Any], prefix: str) -> tuple[JointLimits, ...]:
    """The limits of each joint of an action key; none where it has no joints to be limited.

    Raises:
        ValueError: A limit that is none.
    """
    joints = _limited_joints(settings, prefix)
    if not joints:
        return ()
    columns = [
        np.broadcast_to(floats(settings[f"{prefix}.{name}"]), joints).tolist()
        for name in LIMIT_FIELDS
    ]
    return tuple(JointLimits(*row) for row in zip(*columns, strict=True))


def following_errors(settings: Mapping[str, Any], prefix: str) -> tuple[float, ...]:
    """The largest following error of each joint, or of a pose, rad and m; infinite for none."""
    if not MEASURED.holds(settings, f"{prefix}."):
        return ()
    values = floats(settings[f"{prefix}.max_following_error"])
    joints = max(1, len(settings[f"{prefix}.joints"]))
    return tuple(value or math.inf for value in np.broadcast_to(values, joints).tolist())


def _following_problems(settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    values = floats(settings[f"{prefix}.max_following_error"])
    joints = max(1, len(settings[f"{prefix}.joints"]))
    if len(values) not in (1, joints):
        yield f"{prefix}: max_following_error has {len(values)} values, expected 1 or {joints}"
    if min(values) < 0.0:
        yield f"{prefix}: max_following_error must be >= 0, got {list(values)}"


def _limited_joints(settings: Mapping[str, Any], prefix: str) -> int:
    return len(settings[f"{prefix}.joints"]) if LIMITED.holds(settings, f"{prefix}.") else 0


def limits_given(values: Mapping[str, Any], prefix: str) -> frozenset[str]:
    """The fields of `JointLimits` that the user's parameters of an action key give."""
    return frozenset(
        field for field, name in LIMIT_PARAMETERS.items() if f"{prefix}.{name}" in values
    )


def body_limits(settings: Mapping[str, Any], prefix: str) -> BodyLimits | None:
    """The limits of an action key that is a pose or a twist; None for any other."""
    if settings[f"{prefix}.interface"] not in BODY_INTERFACES:
        return None
    values = {name: float(settings[f"{prefix}.max_{name}"]) for name in BODY_LIMIT_FIELDS}
    return BodyLimits(**values)


def floats(value: Any) -> tuple[float, ...]:
    """The numbers of a parameter that may be one number or a list."""
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)
