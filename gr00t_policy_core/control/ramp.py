# SPDX-License-Identifier: Apache-2.0
"""Ramps of a chunk's playback rate, and how much acceleration and jerk they may add.

The rate changes along the smooth step ``3 x^2 - 2 x^3``: neither velocity nor acceleration jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.action_layout import ANGULAR, LINEAR, ActionLayout
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limits import JointLimits

# Of the smooth step: its largest slope and second derivative, and its mean.
_STEEPEST, _SHARPEST, _MEAN = 1.5, 6.0, 0.5
# Share of the limits that ramps and blends may take: what the chunks themselves want comes on top.
RAMP_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class RampLimits:
    """How much acceleration and jerk ramps and blends may add to the motion of the chunks.

    Args:
        acceleration: float64 (size,), rad/s^2 (or m/s^2); of a velocity its rate of change.
            Infinite where it does not matter.
        jerk: float64 (size,), rad/s^3 (or m/s^3); infinite where it does not matter.
    """

    acceleration: Row
    jerk: Row

    @classmethod
    def none(cls, size: int) -> RampLimits:
        """Make infinite limits for a vector of `size` values."""
        return cls(np.full(size, np.inf), np.full(size, np.inf))

    @classmethod
    def from_limits(
        cls,
        layout: ActionLayout,
        joints: Mapping[int, JointLimits],
        bodies: Mapping[str, BodyLimits],
    ) -> RampLimits:
        """Make the ramp limits: `RAMP_SHARE` of the limits of a robot.

        Args:
            layout: Says where the joints and bodies lie in the vector.
            joints: Limits of joints, by their index in the vector.
            bodies: Limits of poses and twists, by their action key.
        """
        acceleration, jerk = np.full(layout.size, np.inf), np.full(layout.size, np.inf)
        for index, limits in joints.items():
            acceleration[index] = RAMP_SHARE * limits.acceleration
            jerk[index] = RAMP_SHARE * limits.jerk
        for key, body in bodies.items():
            of_body = acceleration[layout.slices[key]]
            of_body[LINEAR] = RAMP_SHARE * body.linear_acceleration
            of_body[ANGULAR] = RAMP_SHARE * body.angular_acceleration
        return cls(acceleration, jerk)


def ramp_s(
    steps: Iterable[tuple[Row, Row]], dt_s: float, layout: ActionLayout, ramp_limits: RampLimits
) -> float:
    """How much of a path a ramp of its rate takes, s: so much that the ramp keeps its limits.

    It is more than there is where the path is too short for that. A ramp over `D` s of the path
    takes `2 D` s, in which a speed `v` changes with at most ``1.5 v / (2 D)`` of acceleration and
    ``6 v / (2 D)^2`` of jerk.

    Args:
        steps: The path from its end at rest on, as pairs of vectors (size,).
        dt_s: Time between the two vectors of a pair, s.
        layout: Says which values are rotations and velocities.
        ramp_limits: How much acceleration and jerk the ramp may add.
    """
    fastest = np.zeros(layout.size)
    path_s = needed_s = 0.0
    for origin, to in steps:
        path_s += dt_s
        fastest = np.maximum(fastest, layout.speed(origin, to, dt_s))
        by_acceleration_s = _STEEPEST * fastest / ramp_limits.acceleration
        by_jerk_s = np.sqrt(_SHARPEST * fastest / ramp_limits.jerk)
        needed_s = _MEAN * float(np.maximum(by_acceleration_s, by_jerk_s).max())
        if needed_s <= path_s:
            break
    return needed_s


def smooth_step(share: float) -> float:
    """The rate at a share of a ramp, both from 0 to 1."""
    return (3.0 - 2.0 * share) * share * share


def smooth_step_integral(share: float) -> float:
    """How much of the path is done at a share of a ramp, of the whole ramp's length."""
    return (1.0 - _MEAN * share) * share**3
