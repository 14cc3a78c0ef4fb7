# SPDX-License-Identifier: Apache-2.0
"""A joint_trajectory_controller for tests and benchmarks, written from its documentation. Pure.

What it does (control.ros.org, "Trajectory Representation" and "Trajectory Replacement"):

- A new trajectory replaces the one before as a whole, at the next update.
- Points are joined by lines where they have positions only, by cubics where they have velocities,
  too, by quintics with accelerations. After the last point its position is held.
- Before the first point the way leads from the state before the trajectory: the measured one, or
  the last command where `interpolate_from_desired_state` is set.
- A stamp of 0 begins at the first update, any other at its own time; points in the past are left
  out. A trajectory that lies in the past altogether, or whose last point moves, is rejected.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One point. `time_s` is its time, s; velocities and accelerations are optional."""

    time_s: float
    position: Array
    velocity: Array | None = None
    acceleration: Array | None = None


@dataclass(slots=True)
class TrajectoryController:
    """Samples trajectories at its own rate.

    Args:
        position: Where the joints are at the start, float64 (n,).
        from_desired: The parameter `interpolate_from_desired_state`.
    """

    position: Array
    from_desired: bool = False
    _points: list[Point] = field(default_factory=list)
    _new: tuple[float, list[Point]] | None = None
    _commanded: Point | None = None

    def receive(self, stamp_s: float, points: list[Point], now_s: float) -> str:
        """Take a trajectory; returns why it is rejected, or an empty text.

        Args:
            stamp_s: Its start, s; 0 for the next update.
            points: Their times are those since its start, s.
            now_s: The present, s.
        """
        times_s = [point.time_s for point in points]
        if not points or any(b <= a for a, b in itertools.pairwise(times_s)):
            return "the times of the points do not increase"
        if stamp_s and stamp_s + times_s[-1] < now_s:
            return "it ends in the past"
        last = points[-1]
        if last.velocity is not None and np.abs(last.velocity).max() > 1e-9:
            return "its last point moves"
        self._new = stamp_s, points
        return ""

    def update(self, now_s: float, measured: Array) -> Array:
        """The command at an update, float64 (n,).

        Args:
            now_s: The present, s.
            measured: Where the joints are, float64 (n,).
        """
        if self._new is not None:
            stamp_s, points = self._new
            self._new = None
            before = Point(now_s, np.array(measured), np.zeros(len(measured)))
            if self.from_desired and self._commanded is not None:
                before = self._commanded
            start_s = stamp_s or now_s
            timed = [
                Point(start_s + p.time_s, p.position, p.velocity, p.acceleration) for p in points
            ]
            is_ahead = timed[0].time_s > now_s
            self._points = [before, *timed] if is_ahead else timed
        self._commanded = self._sample(now_s)
        self.position = self._commanded.position
        return self.position

    def _sample(self, now_s: float) -> Point:
        points = self._points
        if not points:
            return Point(now_s, self.position, np.zeros(len(self.position)))
        for start, end in itertools.pairwise(points):
            if start.time_s <= now_s < end.time_s:
                return between(start, end, now_s)
        still = np.zeros(len(self.position))
        return Point(now_s, points[-1].position, still, still)


def between(start: Point, end: Point, now_s: float) -> Point:
    """The state on the spline from one point to the next: linear, cubic or quintic."""
    conditions_of_start = [start.position, start.velocity, start.acceleration]
    conditions_of_end = [end.position, end.velocity, end.acceleration]
    order = 1
    for a, b in zip(conditions_of_start[1:], conditions_of_end[1:], strict=True):
        if a is None or b is None:
            break
        order += 1
    duration_s = end.time_s - start.time_s
    powers = range(2 * order)
    rows = [_derivative_row(powers, 0.0, d) for d in range(order)]
    rows += [_derivative_row(powers, duration_s, d) for d in range(order)]
    values = np.stack([*conditions_of_start[:order], *conditions_of_end[:order]])
    coefficients = np.linalg.solve(np.array(rows), values)
    at_s = now_s - start.time_s
    position, velocity, acceleration = (
        np.array(_derivative_row(powers, at_s, d)) @ coefficients for d in range(3)
    )
    return Point(now_s, position, velocity, acceleration)


def _derivative_row(powers: range, at_s: float, order: int) -> list[float]:
    """The terms of the polynomial's derivative of an order, for coefficients of rising powers."""
    row = []
    for power in powers:
        factor = 1.0
        for lost in range(order):
            factor *= power - lost
        row.append(factor * at_s ** max(power - order, 0) if power >= order else 0.0)
    return row
