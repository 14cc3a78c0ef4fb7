# SPDX-License-Identifier: Apache-2.0
"""A whole path of commands, and the forecast that makes it: the commands of the ticks to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.steering import MAX_APPROACH_S

# A motion that goes on for longer is brought to rest in the forecast, s. The next forecast goes on.
MAX_FORECAST_S = 10.0
# A controller rejects a trajectory that ended before it arrived, and goes on with the one before.
# So the way to rest of a stop, which may be short, ends with a rest of this length, s, and no
# trajectory ends sooner after it departs from the one before.
REST_S = 0.5


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Commands at even distances in time. The last two are the same: it ends at rest.

    Args:
        start_ns: When the robot should be at the first of them, ns.
        period_ns: Time between two of them, ns.
        rows: The commands, float64 (n, size), n >= 2.
        slices: Where each action key lies in a row.
    """

    start_ns: int
    period_ns: int
    rows: Row
    slices: Mapping[str, slice]

    @property
    def end_ns(self) -> int:
        """The instant of the last command, ns."""
        return self.start_ns + (len(self.rows) - 1) * self.period_ns

    def row_at(self, now_ns: int) -> Row:
        """The command at an instant, ns: the last one after the end, the first one before it."""
        index = round((now_ns - self.start_ns) / self.period_ns)
        return np.asarray(self.rows[min(max(index, 0), len(self.rows) - 1)])

    def rows_at(self, instants_ns: NDArray[np.int64]) -> Row:
        """The commands at instants, int (n,), ns: float64 (n, size), as `row_at`."""
        indices = np.rint((instants_ns - self.start_ns) / self.period_ns).astype(int)
        return np.asarray(self.rows[np.clip(indices, 0, len(self.rows) - 1)])

    def moves_from(self, now_ns: int) -> Row:
        """How far each value still moves about from an instant on, ns, float64 (size,)."""
        index = (now_ns - self.start_ns) // self.period_ns
        left = self.rows[min(max(index, 0), len(self.rows) - 1) :]
        return np.asarray(np.ptp(left, axis=0))

    def velocities(self) -> Row:
        """Central differences of the commands, float64 (n, size), per s; zero at the end."""
        velocities = np.gradient(self.rows, self.period_ns * 1e-9, axis=0)
        velocities[-1] = 0.0
        return np.asarray(velocities)

    def accelerations(self) -> Row:
        """Second differences of the commands, float64 (n, size), per s^2; zero at both ends."""
        accelerations = np.zeros_like(self.rows)
        accelerations[1:-1] = np.diff(self.rows, n=2, axis=0) / (self.period_ns * 1e-9) ** 2
        return accelerations


class Motion(Protocol):
    """A motion that goes on by itself, tick by tick, until it rests."""

    @property
    def is_at_rest(self) -> bool:
        """Whether all further commands are the last one."""
        ...

    def step(self) -> Row:
        """The command of the next tick, float64 (size,)."""
        ...

    def brake(self) -> None:
        """Come to rest now."""
        ...


class PlayerMotion:
    """Where the commands of a player go, if nothing happens and the robot follows.

    Args:
        player: A copy, which this object ticks.
        now_ns: Time of the player's last tick, ns.
        period_ns: Time between two ticks, ns.
    """

    def __init__(self, player: MotionPlayer, now_ns: int, period_ns: int) -> None:
        self._player = player
        self._now_ns = now_ns
        self._period_ns = period_ns
        self._is_at_rest = False
        self._last: Row | None = None
        self._ticks_still = 0

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands stand, and stay where they are.

        Those that follow a person stay where they have stood for as long as the path takes to a
        target: the hold that ends the steering, seconds later, changes nothing.
        """
        if self._is_at_rest or not self._player.is_steered:
            return self._is_at_rest
        return self._ticks_still * self._period_ns > MAX_APPROACH_S * 1e9

    def step(self) -> Row:
        """The command of the next tick, float64 (size,).

        Raises:
            RuntimeError: The player has not commanded anything yet.
        """
        self._now_ns += self._period_ns
        command = self._player.tick(self._now_ns, is_under_way=True)
        if command is None:
            raise RuntimeError("a player without a command has no motion to forecast")
        self._is_at_rest = command.at_rest
        row, before = command.vector, self._last
        is_still = before is not None and np.array_equal(row, before)
        self._ticks_still = self._ticks_still + 1 if is_still else 0
        self._last = row
        return row

    def brake(self) -> None:
        """Come to rest now, as the player does when its chunk is stopped."""
        self._player.hold(self._now_ns, "the forecast ends here")


class BrakeMotion:
    """The commands that are left to come, and then the way to rest of a player that has failed.

    Args:
        start_ns: The instant of the first of them, ns.
        left: The commands that are left, float64 (size,) each, oldest first.
        brake: Begins after the last of them.
        slices: Where each action key lies in a command.
    """

    def __init__(
        self,
        start_ns: int,
        left: Sequence[Row],
        brake: FallbackBrake,
        slices: Mapping[str, slice],
    ) -> None:
        self.start_ns = start_ns
        self._left = list(left)
        self._brake = brake
        self._slices = slices

    @property
    def is_at_rest(self) -> bool:
        """Whether no command is left, and the brake has come to rest."""
        return not self._left and self._brake.is_at_rest

    def step(self) -> Row:
        """The command of the next tick, float64 (size,)."""
        return self._left.pop(0) if self._left else self._brake.step()

    def brake(self) -> None:
        """It brakes already."""

    def forecast(self, period_ns: int) -> Forecast:
        """The forecast of all of it; this object is to be stepped by nobody else.

        Args:
            period_ns: Time between two commands, ns.
        """
        departure_ns = self.start_ns + (len(self._left) - 1) * period_ns
        return Forecast(
            self.start_ns,
            period_ns,
            [self.step()],
            self,
            self._slices,
            departure_ns=departure_ns,
            is_stop=True,
        )


class Forecast:
    """The commands up to the next rest, from the present on.

    Args:
        start_ns: The instant of the first known command, ns.
        period_ns: Time between two commands, ns.
        known: The commands that stand already, float64 (size,) each, oldest first; at least one.
        motion: How it goes on after them; this object steps it.
        slices: Where each action key lies in a command.
        departure_ns: The last instant at which the path is still the one that was sent before, ns.
        is_stop: Whether the robot comes to rest on this path for a reason that is not to wait.
    """

    def __init__(
        self,
        start_ns: int,
        period_ns: int,
        known: Sequence[Row],
        motion: Motion,
        slices: Mapping[str, slice],
        *,
        departure_ns: int,
        is_stop: bool,
    ) -> None:
        self._start_ns = start_ns
        self.period_ns = period_ns
        self._known = list(known)
        self._motion = motion
        self._slices = slices
        self._is_canceled = False
        self.departure_ns = departure_ns
        self.is_stop = is_stop

    def cancel(self) -> None:
        """End `run` early; any thread may call it."""
        self._is_canceled = True

    def run(self) -> Trajectory | None:
        """Step the motion to its rest: about 0.2 ms a tick for an arm of seven joints.

        Returns:
            The path; None where the forecast was canceled.

        Raises:
            RuntimeError: It does not come to rest.
        """
        rows, most = list(self._known), round(MAX_FORECAST_S * 1e9 / self.period_ns)
        for ticks in range(2 * most):
            if self._is_canceled:
                return None
            if ticks == most:
                self._motion.brake()
            rows.append(self._motion.step())
            if self._motion.is_at_rest:
                return self._trajectory(rows)
        raise RuntimeError(f"the motion does not come to rest within {2 * MAX_FORECAST_S:g} s")

    def _trajectory(self, rows: list[Row]) -> Trajectory:
        """The path to its rest; it stays there, so that no controller finds it in the past."""
        rests_from_ns = self._start_ns + (len(rows) - 1) * self.period_ns
        longest_ns = round(REST_S * 1e9)
        rest_ns = longest_ns if self.is_stop else self.departure_ns + longest_ns - rests_from_ns
        rests = round(rest_ns / self.period_ns)
        path = np.stack([*rows, *[rows[-1]] * max(1, rests)])
        return Trajectory(self._start_ns, self.period_ns, path, self._slices)
