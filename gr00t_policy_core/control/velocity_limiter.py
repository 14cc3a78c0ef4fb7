# SPDX-License-Identifier: Apache-2.0
"""Keeps a joint that is commanded in velocity inside its limits of speed, acceleration and jerk.

As for positions, a command within the limits passes unchanged, and one that is not is replaced by
the fastest change inside them that closes in on the target. Acceleration and jerk are the first and
second differences of the commands themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from gr00t_policy_core.control.joint_limits import JointLimits

ROUNDING = 1e-9  # share of a limit that a command may exceed it by, and still pass unchanged
AT_REST = 1e-12  # rad/s (or m/s): below it a velocity counts as zero

Reference = Callable[[int], float]
"""The target velocity in a number of ticks from now, rad/s (or m/s)."""


class VelocityLimiter:
    """Keeps the velocity commands of one joint inside its limits. It starts at rest.

    Args:
        limits: Limits of the joint; its range is not used, since a velocity gives no position.
        period_s: Time between two commands, s.
        limit_hits: Counts the ticks in which a limit changed the command, by the limit's name.
    """

    def __init__(self, limits: JointLimits, period_s: float, limit_hits: Counter[str]) -> None:
        self._period_s = period_s
        self._speed = limits.velocity
        # The largest change from one command to the next, and the largest change of that.
        self._change = limits.acceleration * period_s
        self._bend = limits.jerk * period_s**2
        self._limit_hits = limit_hits
        self._velocity = 0.0
        self._last_change = 0.0
        self._is_following = True
        self._bound_by = ""

    @property
    def bound_by(self) -> str:
        """Name of the limit that changed the last command; empty where none did."""
        return self._bound_by

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest at most, s."""
        if self.is_at_rest:
            return 0.0
        # Never too short in 20,000 random cases; up to three ticks too long.
        ticks = abs(self._velocity) / self._change + 2.5 * self._change / self._bend + 3.0
        return ticks * self._period_s

    @property
    def velocity(self) -> float:
        """The last command, rad/s (or m/s)."""
        return self._velocity

    @property
    def is_following(self) -> bool:
        """Whether the last command was the target itself."""
        return self._is_following

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands have come to zero, and stayed there for a tick."""
        return self._velocity == 0.0 and self._last_change == 0.0

    def follow(self, reference: Reference) -> float:
        """The command of this tick towards a target that may change.

        Args:
            reference: The target; ``reference(0)`` belongs to this tick.
        """
        target = reference(0)
        self._bound_by = self._broken_by(target)
        self._is_following = not self._bound_by
        if self._is_following:
            return self._step_to(target)
        self._limit_hits[self._bound_by] += 1
        slope = _clipped(reference(1) - target, self._change)
        return self._step_to(self._nearest(_clipped(target, self._speed), slope))

    def brake(self) -> float:
        """The command of this tick on the fastest way to zero."""
        self._is_following = False
        self._bound_by = ""
        return self._step_to(self._nearest(0.0, 0.0))

    def _broken_by(self, target: float) -> str:
        """The limit that a target would break, now or while it is left; empty where none."""
        change = target - self._velocity
        if abs(target) > self._speed * (1.0 + ROUNDING):
            return "velocity"
        if abs(change) > self._change * (1.0 + ROUNDING):
            return "acceleration"
        if abs(change - self._last_change) > self._bend * (1.0 + ROUNDING):
            return "jerk"
        # The change goes on while the jerk limit brings it to zero: not beyond the speed limit.
        lowest, highest = self._changes_within_speed()
        slack = self._speed * ROUNDING
        return "" if lowest - slack <= change <= highest + slack else "velocity"

    def _nearest(self, target: float, slope: float) -> float:
        """The allowed command that leads to a target, and its slope, in the fewest ticks.

        Args:
            target: The velocity wanted at this tick, rad/s (or m/s).
            slope: How much it changes in each tick, rad/s (or m/s).
        """
        change = slope + self._landing_change(target - slope - self._velocity)
        change = _clipped(change, self._change)
        change = self._last_change + _clipped(change - self._last_change, self._bend)
        lowest, highest = self._changes_within_speed()
        velocity = self._velocity + min(max(change, lowest), highest)
        return target if abs(velocity - target) < AT_REST else velocity

    def _changes_within_speed(self) -> tuple[float, float]:
        """The changes of this tick after which the speed limit can still be kept."""
        return (
            self._landing_change(-self._speed - self._velocity),
            self._landing_change(self._speed - self._velocity),
        )

    def _landing_change(self, distance: float) -> float:
        """The change of this tick from which, shrinking by the jerk limit, it covers a distance.

        With n ticks that is ``n * change - bend * n * (n - 1) / 2``, where the last of them still
        changes something: ``bend * n * (n - 1) / 2 < distance <= bend * n * (n + 1) / 2``.
        """
        ratio = abs(distance) / self._bend
        ticks = max(1, math.ceil((math.sqrt(1.0 + 8.0 * ratio) - 1.0) / 2.0))
        change = (abs(distance) + self._bend * ticks * (ticks - 1) / 2.0) / ticks
        return math.copysign(change, distance)

    def _step_to(self, velocity: float) -> float:
        self._last_change = velocity - self._velocity
        self._velocity = velocity
        return velocity


def _clipped(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
