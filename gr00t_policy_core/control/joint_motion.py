# SPDX-License-Identifier: Apache-2.0
"""The motion of one joint as its limiter keeps it: now, remembered, and on the way to rest."""

from __future__ import annotations

from dataclasses import dataclass

from ruckig import Trajectory


@dataclass(frozen=True, slots=True)
class JointMotion:
    """Position, velocity and acceleration of one joint at one instant, rad (or m) and s."""

    position: float
    velocity: float
    acceleration: float


@dataclass(frozen=True, slots=True)
class WayToRest:
    """Where a joint is while it brakes to a standstill.

    Args:
        plan: Ruckig's trajectory; None for a joint that stands still.
        start: Where it begins, rad (or m).
        lowest, highest: The range that its commands keep, rad (or m).
        duration_s: How long it takes, s.
    """

    plan: Trajectory | None
    start: float
    lowest: float
    highest: float
    duration_s: float

    def at(self, time_s: float) -> float:
        """The position at a time after the beginning, s; at rest from `duration_s` on."""
        if self.plan is None:
            return self.start
        position = float(self.plan.at_time(min(time_s, self.duration_s))[0][0])
        return min(max(position, self.lowest), self.highest)


@dataclass(frozen=True, slots=True)
class LimiterMark:
    """Everything about a joint that a command changes; see `JointLimiter.undo`."""

    reach: tuple[float, float]
    state: JointMotion
    commands: tuple[float, float, float]
    is_following: bool
    bound_by: str
