# SPDX-License-Identifier: Apache-2.0
"""The trajectory that was sent last, the forecast of the next, and whether commands depart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.trajectory import Forecast, Trajectory

# Commands closer to the trajectory than this follow it, rad (or m).
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class SentStop:
    """A way to rest that was sent, and the path that it leaves.

    Args:
        before: The path.
        rest: The way to rest.
    """

    before: Trajectory
    rest: Trajectory


class SentPath:
    """What the controller of the robot knows of the path.

    Args:
        layout: Layout of the commands.
        forecast_keys: The action keys whose path is sent.
    """

    def __init__(self, layout: ActionLayout, forecast_keys: Iterable[str]) -> None:
        self._is_sent = np.zeros(layout.size, dtype=bool)
        for key in forecast_keys:
            self._is_sent[layout.slices[key]] = True
        self._is_released = np.zeros(layout.size, dtype=bool)
        self._all_slices = layout.slices
        self._slices = layout.slices
        self._newest: Trajectory | None = None
        self._stop: SentStop | None = None
        self._forecast: Forecast | None = None
        self._has_departed = False
        self._begins_at: Row | None = None  # the first command, while no trajectory was sent

    @property
    def is_forecasting(self) -> bool:
        """Whether a forecast is under way."""
        return self._forecast is not None

    @property
    def has_departed(self) -> bool:
        """Whether a command was another than the trajectory's, and no forecast was begun since."""
        return self._has_departed

    @property
    def is_current(self) -> bool:
        """Whether the trajectory has all commands so far."""
        return not self._has_departed and self._forecast is None

    @property
    def slices(self) -> Mapping[str, slice]:
        """Where the action keys lie in a row, without those whose controller is sent nothing."""
        return self._slices

    @property
    def is_released(self) -> Row:
        """Which values belong to a controller that is sent nothing, bool (size,)."""
        return self._is_released

    @property
    def is_sent(self) -> Row:
        """Which values belong to a path that is sent, bool (size,)."""
        return self._is_sent

    @property
    def stop(self) -> SentStop | None:
        """The newest stop; None once the robot carries it out, or another path was sent."""
        return self._stop

    @property
    def end_ns(self) -> int | None:
        """When the robot comes to rest on the trajectory, ns; None before the first."""
        return None if self._newest is None else self._newest.end_ns

    def row_at(self, now_ns: int) -> Row | None:
        """Where the robot is sent at an instant, ns; None before the first trajectory."""
        return None if self._newest is None else self._newest.row_at(now_ns)

    def rows_at(self, instants_ns: Iterable[int]) -> list[Row]:
        """Where the robot is sent at some instants, ns; empty before the first trajectory."""
        sent = self._newest
        return [] if sent is None else [sent.row_at(instant_ns) for instant_ns in instants_ns]

    def rows_from(self, now_ns: int, count: int) -> tuple[int, list[Row]] | None:
        """Where the robot is sent from the present on.

        Args:
            now_ns: The present, ns.
            count: The number of commands.

        Returns:
            The instant of the first one, which is that of a command of the trajectory, ns; and the
            commands, float64 (size,) each. None before the first trajectory.
        """
        sent = self._newest
        if sent is None:
            return None
        ticks = round((now_ns - sent.start_ns) / sent.period_ns)
        first_ns = sent.start_ns + ticks * sent.period_ns
        instants_ns = range(first_ns, first_ns + count * sent.period_ns, sent.period_ns)
        return first_ns, self.rows_at(instants_ns)

    def follow(self, row: Row, tick_ns: int) -> None:
        """Compare the command of a tick, float64 (size,), unless a forecast is under way."""
        if self._newest is None and self._begins_at is None:
            self._begins_at = row
        if self._forecast is None:
            self._has_departed |= self._departs(row, tick_ns)

    def same_until(self, rows: Sequence[Row], start_ns: int, period_ns: int) -> int:
        """Compare the commands from an instant on; returns how many are the trajectory's."""
        for index, row in enumerate(rows):
            if self._departs(row, start_ns + index * period_ns):
                self._has_departed = True
                return index
        return len(rows)

    def step_to(self, trajectory: Trajectory, now_ns: int) -> float:
        """The largest step, rad (or m), if another trajectory took over at an instant, ns.

        Before the first trajectory the robot is where the first command is.
        """
        sent = self.row_at(now_ns)
        here = sent if sent is not None else self._begins_at
        if here is None:
            return 0.0
        return self._largest(trajectory.row_at(now_ns) - here)

    def way(self, from_ns: int, to_ns: int) -> float:
        """How far the robot goes at most from an instant to another, rad (or m)."""
        if self._newest is None:
            return 0.0
        way = self._newest.row_at(to_ns) - self._newest.row_at(from_ns)
        return self._largest(way)

    def moves_from(self, now_ns: int) -> bool:
        """Whether the trajectory still moves the robot from an instant on, ns."""
        return self._newest is not None and self._moves_from(self._newest, now_ns)

    def depart(self) -> None:
        """Note that the commands to come are others than the trajectory's, though not at first."""
        if self._forecast is None:
            self._has_departed = True

    def begin(self, forecast: Forecast) -> None:
        """Wait for a forecast of the commands so far."""
        self._forecast, self._has_departed = forecast, False

    def is_awaited(self, forecast: Forecast) -> bool:
        """Whether a forecast is the one that is under way."""
        return forecast is self._forecast

    def finish(self, trajectory: Trajectory, *, is_stop: bool = False) -> None:
        """Go on from the trajectory that was forecast and sent.

        Args:
            trajectory: The trajectory.
            is_stop: Whether it is a way to rest.
        """
        before = self._left_at(trajectory.start_ns) if is_stop else None
        self._stop = None if before is None else SentStop(before, trajectory)
        self._newest, self._forecast = trajectory, None

    def settle(self) -> None:
        """Learn that the robot carries the newest stop out, or that this will not be known."""
        self._stop = None

    def return_to_before(self, keys: Collection[str], now_ns: int) -> None:
        """Learn that the controllers of some action keys are still on the path before the stop.

        Args:
            keys: The action keys.
            now_ns: From when on, ns.
        """
        if self._stop is None:
            return
        before, rest = self._stop.before, self._stop.rest
        end_ns = max(before.end_ns, now_ns) + 2 * rest.period_ns
        instants_ns = np.arange(now_ns, end_ns, rest.period_ns)
        rows, left = rest.rows_at(instants_ns), before.rows_at(instants_ns)
        for part in (self._all_slices[key] for key in keys):
            rows[:, part] = left[:, part]
        self._newest = Trajectory(now_ns, rest.period_ns, rows, self._slices)

    def forget(self) -> None:
        """Forget what was sent: the robot was moved since, by somebody or another controller."""
        self._newest = self._begins_at = None
        self._has_departed = False

    def release(self, keys: Collection[str]) -> None:
        """Send the controllers of these action keys nothing, wherever they are."""
        self._slices = {key: part for key, part in self._slices.items() if key not in keys}
        for key in keys:
            self._is_released[self._all_slices[key]] = True

    def take_back(self, row: Row | None, now_ns: int) -> None:
        """Send all controllers the path again.

        Args:
            row: The command at which all of them stay by themselves, float64 (size,); None before
                the first command.
            now_ns: From when on, ns.
        """
        self._slices = self._all_slices
        self._is_released[:] = False
        if row is not None:
            self._newest = Trajectory(now_ns, 1, np.stack([row, row]), self._slices)
            self._stop = None

    def drop(self) -> None:
        """Drop the forecast that is under way: the commands have become others."""
        if self._forecast is not None:
            self._forecast.cancel()
        self._forecast, self._has_departed, self._begins_at = None, False, None

    def _departs(self, row: Row, tick_ns: int) -> bool:
        if self._newest is None:
            return True
        return self._largest(row - self._newest.row_at(tick_ns)) > SAME

    def _left_at(self, now_ns: int) -> Trajectory | None:
        """The path that a way to rest leaves at an instant, ns; None where the robot rests.

        After a stop that is still in doubt, the robot may be on the path before that one, too.
        """
        paths = [self._newest] if self._stop is None else [self._stop.before, self._newest]
        moving = (path for path in paths if path is not None and self._moves_from(path, now_ns))
        return next(moving, None)

    def _moves_from(self, path: Trajectory, now_ns: int) -> bool:
        return self._largest(path.moves_from(now_ns)) > SAME

    def _largest(self, way: Row) -> float:
        return float(np.abs(way)[self._is_sent & ~self._is_released].max(initial=0.0))
