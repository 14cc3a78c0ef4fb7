# SPDX-License-Identifier: Apache-2.0
"""Whether the commands of an action are inside the limits of its contract."""

from __future__ import annotations

import numpy as np
from helpers import require_within

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_ros.contract.streams import ActionOutput


def require_inside(output: ActionOutput, commands: np.ndarray, period_s: float) -> None:
    for index, limits in enumerate(output.limits):
        values = commands[:, index]
        assert values.min() >= limits.lower - 1e-9
        assert values.max() <= limits.upper + 1e-9
        require_within(
            values,
            velocity=limits.velocity,
            acceleration=limits.acceleration,
            jerk=limits.jerk,
            period_s=period_s,
        )
    if output.body_limits is not None:
        require_body_inside(output.body_limits, commands, period_s)


def require_goals_inside(output: ActionOutput, goals: list[float]) -> None:
    """Goals of a gripper, rad or m, are inside its range; a binary one knows two."""
    (limits,) = output.limits
    assert goals, f"{output.name} got no goal"
    assert limits.lower <= min(goals)
    assert max(goals) <= limits.upper
    binary = output.interface.binary
    if binary is not None:
        assert set(goals) <= {*binary.open_position, *binary.closed_position}


def require_body_inside(limits: BodyLimits, twists: np.ndarray, period_s: float) -> None:
    for part, velocity, acceleration in (
        (slice(0, 3), limits.linear_velocity, limits.linear_acceleration),
        (slice(3, 6), limits.angular_velocity, limits.angular_acceleration),
    ):
        speeds = np.linalg.norm(twists[:, part], axis=1)
        changes = np.linalg.norm(np.diff(twists[:, part], axis=0), axis=1) / period_s
        assert speeds.max() <= velocity + 1e-9
        assert changes.max() <= acceleration + 1e-6
