# SPDX-License-Identifier: Apache-2.0
"""Where the robot really is, as far as it is measured, and what that says about the commands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.layout import Layout

# Displacement of a resting robot that counts as moved by somebody else, rad (or m): above the noise
# of an encoder.
MOVED = 0.02
# Share of the largest following error that a robot at rest may have by itself: sag, a closed grip.
RESTING_SHARE = 0.5


class MeasuredRobot:
    """The newest measured position of each joint and pose, judged by age and by distance.

    Args:
        layout: Layout of the vectors.
        max_ages_s: Largest age of a measurement by index, s. These values must be measured before
            the robot may be moved; the others need not be measured at all.
        max_following_errors: Largest distance between command and measurement by index, rad (or m).
    """

    def __init__(
        self,
        layout: Layout,
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
        self._resting_error: Row | None = None

    @property
    def positions(self) -> Row:
        """Measured positions, float64 (size,), rad (or m); NaN where nothing was measured."""
        return self._positions.copy()

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Take measured positions, rad (or m), by index; the others stay where they were."""
        for index, position in positions.items():
            self._positions[index] = position
            self._stamps_ns[index] = stamp_ns

    def restamp(self, now_ns: int) -> None:
        """Take all measurements for present ones: the clock was set back since they came, ns."""
        self._stamps_ns = dict.fromkeys(self._stamps_ns, now_ns)

    def over(self, vector: Row) -> Row:
        """A copy of a vector, float64 (size,), with every value that is measured in its place."""
        return np.where(np.isnan(self._positions), vector, self._positions)

    def problem(self, now_ns: int) -> str:
        """What is missing or too old for the robot to be moved; empty where nothing is.

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
                return f"the position of {name} is {age_s:.2f} s old, {limit_s:g} s are allowed"
            if age_s < -limit_s:
                return f"the position of {name} is {-age_s:.2f} s in the future: clocks differ"
        return ""

    def following_error(self, command: Row) -> str:
        """Which value does not follow its command, in a sentence; empty where all of them do.

        Args:
            command: The last command, float64 (size,).
        """
        excess = np.abs(self._error(command)) - self._max_errors
        if not (excess > 0.0).any():
            return ""
        worst = int(np.argmax(excess))
        return (
            f"{self._layout.name_of(worst)} does not follow: commanded {command[worst]:.3f}, "
            f"measured {self._positions[worst]:.3f}, max_following_error is "
            f"{self._max_errors[worst]:g}"
        )

    def start_moving(self) -> None:
        """Forget how far the robot was from its commands when it last rested."""
        self._resting_error = None

    def resting_place(self, held: Row) -> Row:
        """Where a robot at rest is to be held: elsewhere once somebody else has moved it.

        An arm sags a little, a gripper stays open by what it holds: this distance is no
        displacement. It is taken from the rest so far, and kept when the robot is moved.

        Args:
            held: Where it is held now, float64 (size,).

        Returns:
            `held` itself where the robot was not moved.
        """
        error = self._error(held)
        if self._resting_error is None:
            most = RESTING_SHARE * self._max_errors
            self._resting_error = np.where(np.abs(error) <= most, error, 0.0)
        is_smaller = np.abs(error) < np.abs(self._resting_error)
        self._resting_error[is_smaller] = error[is_smaller]
        moved = np.abs(error) > np.abs(self._resting_error) + MOVED
        if not moved.any():
            return held
        return self._layout.moved(held, np.where(moved, error - self._resting_error, 0.0))

    def _error(self, command: Row) -> Row:
        """How far the robot is from a command, as `Layout.offset` has it; 0 where unmeasured."""
        return self._layout.offset(self.over(command), command)
