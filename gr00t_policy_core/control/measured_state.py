# SPDX-License-Identifier: Apache-2.0
"""The measured positions of the robot, and their distance from the commands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row

# A resting robot that is displaced by more than this was moved by somebody, rad (or m): above the
# noise of an encoder.
MOVED = 0.02
# A robot whose measurements stay within this, rad (or m), for this long by their stamps, s, stands
# still.
STILL, STILL_S = 0.005, 0.3
# Share of the largest following error that a robot at rest may have by itself: sag, a closed grip.
RESTING_SHARE = 0.5
# More than any robot measures: 10 km, 1600 turns. Such a value is ignored, like one that is NaN.
MAX_MEASURED = 1e4


class MeasuredState:
    """The newest measured position of each joint and pose, judged by age and by distance.

    Args:
        layout: Names the values of the vectors, and says which of them are poses.
        max_ages_s: Largest age of a measurement by index, s. These values must be measured before
            the robot may be moved; the others need not be measured at all.
        max_following_errors: Largest distance between command and measurement by index, rad (or m).
    """

    def __init__(
        self,
        layout: ActionLayout,
        max_ages_s: Mapping[int, float],
        max_following_errors: Mapping[int, float],
    ) -> None:
        self._layout = layout
        self._max_ages_s = max_ages_s
        self._max_errors = np.full(layout.size, np.inf)
        for index, error in max_following_errors.items():
            self._max_errors[index] = error
        self._positions = np.full(layout.size, np.nan)
        self._stamps_ns: dict[int, int] = {}
        # How far the robot is from its commands by itself while it rests; None where it has not
        # rested yet, or not since it yielded.
        self._resting_error: Row | None = None
        self._has_yielded = False
        self._yielded_at = np.full(layout.size, np.nan)
        self._rested_at: Row | None = None  # where it was at the first tick of this rest
        self._still_at = np.full(layout.size, np.nan)
        self._still_since_ns: int | None = None
        self._is_still = False

    @property
    def positions(self) -> Row:
        """Measured positions, float64 (size,), rad (or m); NaN where nothing was measured."""
        return self._positions.copy()

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Store measured positions; the other values keep theirs.

        Args:
            positions: Positions by index, rad (or m). One that is not finite, or beyond
                `MAX_MEASURED`, is ignored.
            stamp_ns: When they were measured, ns.
        """
        for index, position in positions.items():
            if not abs(position) <= MAX_MEASURED:
                continue
            self._positions[index] = position
            self._stamps_ns[index] = stamp_ns

    def restamp(self, now_ns: int) -> None:
        """Stamp all measurements again, because the clock was set back since they arrived.

        Args:
            now_ns: The present by the new time, ns.
        """
        self._stamps_ns = dict.fromkeys(self._stamps_ns, now_ns)
        self._still_since_ns = None

    def assume_followed(self) -> None:
        """Judge no measurement from now on: the robot is where it is commanded to be."""
        self._max_ages_s = {}
        self._max_errors = np.full(self._layout.size, np.inf)

    def over(self, vector: Row) -> Row:
        """A vector, float64 (size,), with the measurement of every value that has one."""
        return np.where(np.isnan(self._positions), vector, self._positions)

    def problem(self, now_ns: int) -> str:
        """Which measurement is missing or too old for the robot to be moved; empty where none is.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
        """
        for index, limit_s in self._max_ages_s.items():
            stamp_ns = self._stamps_ns.get(index)
            name = self._layout.name_of(index)
            if stamp_ns is None:
                return f"the position of {name} is not known yet"
            age_s = (now_ns - stamp_ns) * 1e-9
            if age_s > limit_s:
                return f"the position of {name} is {age_s:.2f} s old, the limit is {limit_s:g} s"
            if age_s < -limit_s:
                return f"the position of {name} is {-age_s:.2f} s in the future: clocks differ"
        return ""

    def following_error(self, command: Row) -> str:
        """Say which value does not follow its command; empty where all of them do.

        Args:
            command: The last command, float64 (size,).
        """
        distances = self._distances(self._error(command))
        excess = distances - self._max_errors
        if not (excess > 0.0).any():
            return ""
        worst = int(np.argmax(excess))
        limit = f"max_following_error is {self._max_errors[worst]:g}"
        for key in self._layout.poses:
            part = self._layout.slices[key]
            if part.start <= worst < part.stop:
                unit = "m" if worst < part.start + 3 else "rad"
                return f"{key} does not follow: it is {distances[worst]:.3f} {unit} away, {limit}"
        return (
            f"{self._layout.name_of(worst)} does not follow: commanded {command[worst]:.3f}, "
            f"measured {self._positions[worst]:.3f}, {limit}"
        )

    @property
    def is_still(self) -> bool:
        """Whether the robot had not moved for a while at the last call of `rest`."""
        return self._is_still

    def start_moving(self) -> None:
        """Forget how far the robot was from its commands when it last rested."""
        self._resting_error = self._still_since_ns = self._rested_at = None
        self._has_yielded = self._is_still = False

    def rest(self, held: Row, now_ns: int) -> None:
        """Let time pass at rest, and learn how far the robot is from its command by itself.

        An arm sags a little, a gripper is held open by what it grips.

        Args:
            held: Where it is held, float64 (size,).
            now_ns: Playback time of the tick, ns.
        """
        self._is_still = self.stands_still(now_ns)
        if self._rested_at is None:
            self._rested_at = self._positions.copy()
        error = self._error(held)
        if self._resting_error is not None:
            self._resting_error = self._smaller(error, self._resting_error)
        elif not self._has_yielded:
            self._resting_error = self._own_error(error)
        elif self._is_still:
            # The error may have any size, or an arm that sags with every command would creep.
            self._resting_error = error

    def has_left_rest(self, held: Row) -> bool:
        """Whether the robot is elsewhere than at the first call of `rest` since it moved.

        Args:
            held: Where it is held, float64 (size,).
        """
        if self._rested_at is None:
            return False
        way = self._way_since(self._rested_at, held)
        return bool((self._distances(way) > MOVED).any())

    def stands_still(self, now_ns: int) -> bool:
        """Whether the robot has not moved for a while; call it at every tick.

        While no measurement arrives, nothing is known of a motion, and no time is counted.

        Args:
            now_ns: Playback time of the tick, ns; it counts where nothing has to be measured.
        """
        needed = self._max_ages_s.keys() & self._stamps_ns.keys()
        stamps_ns = [self._stamps_ns[index] for index in needed] or [now_ns]
        moves = ~(np.abs(self.over(self._still_at) - self._still_at) <= STILL)
        if self._still_since_ns is None or (moves & ~np.isnan(self._positions)).any():
            self._still_at = self._positions.copy()
            self._still_since_ns = max(stamps_ns)
        return min(stamps_ns) - self._still_since_ns >= STILL_S * 1e9

    def displaced(self, held: Row) -> Row:
        """Where a robot at rest was moved to, less its resting error; `held` if nobody moved it.

        Args:
            held: Where it is held, float64 (size,).
        """
        error = self._error(held)
        resting = self._own_error(error)
        if self._resting_error is not None:
            resting = self._smaller(error, self._resting_error)
        moved = self._distances(error - resting) > MOVED
        if not moved.any():
            return held
        return self._layout.with_offset(held, np.where(moved, error - resting, 0.0))

    def start_yielding(self) -> None:
        """Forget the resting error: the commands go to where the robot was moved to."""
        self._resting_error = self._still_since_ns = self._rested_at = None
        self._has_yielded = True
        self._is_still = False
        self._yielded_at = self._positions.copy()

    def moved_on(self, held: Row) -> Row:
        """Where the robot was moved to since `start_yielding`; `held` if nobody moved it.

        Args:
            held: Where the commands rest, and nothing was commanded since, float64 (size,).
        """
        way = self._way_since(self._yielded_at, held)
        has_moved = (self._distances(way) > MOVED).any()
        return self._layout.with_offset(held, way) if has_moved else held

    def _way_since(self, before: Row, held: Row) -> Row:
        """How far the robot is from where it was measured before; 0 where it was not measured."""
        known = np.where(np.isnan(before), self.over(held), before)
        return self._layout.offset(self.over(held), known)

    def _smaller(self, error: Row, other: Row) -> Row:
        """The smaller of two errors, value by value; of a pose by its place and its rotation."""
        return np.where(self._distances(error) < self._distances(other), error, other)

    def _own_error(self, error: Row) -> Row:
        """As much of an error as a robot at rest may have by itself."""
        is_own = self._distances(error) <= RESTING_SHARE * self._max_errors
        return np.where(is_own, error, 0.0)

    def _distances(self, error: Row) -> Row:
        """How far each value is off; of a pose, how far its place and its rotation are."""
        distances = np.abs(error)
        for key in self._layout.poses:
            start = self._layout.slices[key].start
            for part in (slice(start, start + 3), slice(start + 3, start + 6)):
                distances[part] = np.linalg.norm(error[part])
        return distances

    def _error(self, command: Row) -> Row:
        """How far the robot is from a command, as `Layout.offset` has it; 0 where unmeasured."""
        return self._layout.offset(self.over(command), command)
