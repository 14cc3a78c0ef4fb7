# SPDX-License-Identifier: Apache-2.0
"""Follows joint trajectories: the target of each joint, given the commands so far."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


class TrajectoryRefusedError(ValueError):
    """A trajectory cannot be followed; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """Joint positions (rad, the gripper in m) at a time after the start of the trajectory."""

    time_from_start_s: float
    positions: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Track:
    """One joint's way: positions at times, linear in between, the last one for ever."""

    times_s: tuple[float, ...]
    positions: tuple[float, ...]

    def at(self, time_s: float) -> float:
        return float(np.interp(time_s, self.times_s, self.positions))


class TrajectoryFollower:
    """Keeps, per joint, the newest trajectory that names it.

    A trajectory starts when it is received, whatever its stamp says. Joints it does not name go on
    with theirs. Not thread-safe.

    Args:
        joint_names: Names of all joints of the robot.
    """

    def __init__(self, joint_names: Collection[str]) -> None:
        self._joint_names = tuple(joint_names)
        self._tracks: dict[str, _Track] = {}

    def accept(
        self,
        joint_names: Sequence[str],
        points: Sequence[TrajectoryPoint],
        *,
        current: Mapping[str, float],
        now_s: float,
    ) -> None:
        """Follow a trajectory from now on.

        Args:
            joint_names: The joints it moves, in any order; what the points' positions belong to.
            points: Where to be when, at least one. A first point later than 0 is approached
                linearly from the current target; at 0 it is the target at once.
            current: Targets now of the joints that no trajectory has named yet. The others start
                where theirs have led by `now_s`, not where somebody last took their targets up:
                or commands that come right before each of those times would hardly move the arm.
            now_s: The time on the clock that ``targets`` is asked with.

        Raises:
            TrajectoryRefusedError: If a joint is unknown or named twice, a point has another number
                of positions than there are names, a value is not finite, or times do not rise. Then
                nothing has changed.
        """
        self._check(joint_names, points)
        times_s = tuple(now_s + point.time_from_start_s for point in points)
        approach = points[0].time_from_start_s > 0
        start = {**current, **self.targets(now_s)}
        for column, name in enumerate(joint_names):
            positions = tuple(point.positions[column] for point in points)
            self._tracks[name] = (
                _Track((now_s, *times_s), (start[name], *positions))
                if approach
                else _Track(times_s, positions)
            )

    def targets(self, now_s: float) -> dict[str, float]:
        """Where each joint should be now; joints that no trajectory has named are not in it."""
        return {name: track.at(now_s) for name, track in self._tracks.items()}

    def clear(self) -> None:
        """Forget all trajectories."""
        self._tracks.clear()

    def _check(self, joint_names: Sequence[str], points: Sequence[TrajectoryPoint]) -> None:
        if not joint_names or not points:
            raise TrajectoryRefusedError(
                f"a trajectory needs joints and points, got {len(joint_names)} joints and "
                f"{len(points)} points"
            )
        for name in joint_names:
            if name not in self._joint_names:
                raise TrajectoryRefusedError(
                    f"unknown joint {name!r}, the arm has {', '.join(self._joint_names)}"
                )
            if list(joint_names).count(name) > 1:
                raise TrajectoryRefusedError(f"joint {name!r} is named twice")
        earlier_s = -math.inf
        for index, point in enumerate(points):
            if len(point.positions) != len(joint_names):
                raise TrajectoryRefusedError(
                    f"point {index} has {len(point.positions)} positions for "
                    f"{len(joint_names)} joints ({', '.join(joint_names)})"
                )
            for name, position in zip(joint_names, point.positions, strict=True):
                if not math.isfinite(position):
                    raise TrajectoryRefusedError(
                        f"point {index} has {position} for joint {name!r}, not a finite number"
                    )
            if not (point.time_from_start_s > earlier_s and point.time_from_start_s >= 0):
                raise TrajectoryRefusedError(
                    f"point {index} is at {point.time_from_start_s} s: times must not be negative "
                    "and must rise from point to point"
                )
            earlier_s = point.time_from_start_s
