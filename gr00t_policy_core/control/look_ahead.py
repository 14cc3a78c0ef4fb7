# SPDX-License-Identifier: Apache-2.0
"""Plays chunks a little ahead of time, so that whole trajectories reach a controller in time.

The player lives in the future by the lead: what it commands at a tick is what the robot should do
one lead later. So there is time to forecast the path to its end, and to send it, before the robot
gets to where it departs from the path before. Everything that the player is told, it is told as of
the future: its stop reasons, checks and limits are the same as without a lead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.playback_clock import CLOCK_JUMP_NS
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.trajectory import BrakeMotion, Forecast, PlayerMotion, Trajectory

# After a longer pause of the control loop the missed ticks are not made up for, s.
MAX_CATCH_UP_S = 1.0
# Commands closer to the forecast than this follow it, rad (or m).
SAME = 1e-9


class LookAheadPlayer:
    """A player that is ticked ahead of time; what it commands at a tick comes out one lead later.

    It forecasts its own path whenever a command departs from the path that was forecast last: at a
    new chunk, at a stop, at anything else. In between the forecast is exact. Ticks that the control
    loop misses are made up for, because the controller does not stand still for them.

    Args:
        player: The player; only this object calls it from now on.
        layout: Its layout.
        period_s: Time between two ticks, s.
        lead_s: The lead, s; rounded up to whole ticks.
        forecast_keys: The action keys whose path is forecast.
        silent_at_rest: As in `PlayerSettings`: what was commanded at rest did not go out.
    """

    def __init__(
        self,
        player: MotionPlayer,
        layout: ActionLayout,
        *,
        period_s: float,
        lead_s: float,
        forecast_keys: tuple[str, ...],
        silent_at_rest: bool = False,
    ) -> None:
        self._player = player
        self._layout = layout
        self._silent_at_rest = silent_at_rest
        self._period_ns = round(period_s * 1e9)
        self._lead_ticks = max(1, math.ceil(lead_s / period_s - 1e-9))
        self._lead_ns = self._lead_ticks * self._period_ns
        self._ticked_ns: int | None = None  # the newest tick of the player
        # The commands from the present tick to the newest; None where there was none yet.
        self._ahead: deque[Command | None] = deque(
            [None] * self._lead_ticks, maxlen=self._lead_ticks + 1
        )
        self._is_forecast = np.zeros(layout.size, dtype=bool)
        for key in forecast_keys:
            self._is_forecast[layout.slices[key]] = True
        self._positions: dict[int, float] = {}  # as they were measured, by index
        self._measured_ns: dict[int, int] = {}  # when, ns
        self._newest: Trajectory | None = None
        self._is_forecasting = False
        self._has_departed = False

    # What the player says of itself

    @property
    def player(self) -> MotionPlayer:
        """The player that is ticked ahead."""
        return self._player

    @property
    def lead_s(self) -> float:
        """How far the player is ahead of the present, s."""
        return self._lead_ns * 1e-9

    @property
    def counts(self) -> PlayerCounts:
        """The player's counts."""
        return self._player.counts

    @property
    def reason(self) -> str:
        """Why no chunk is played; empty while a chunk is."""
        return self._player.reason

    @property
    def is_steered(self) -> bool:
        """Whether a person steers the robot at present."""
        return self._player.is_steered

    @property
    def layout(self) -> ActionLayout:
        """Layout of the command vector."""
        return self._layout

    @property
    def refusal(self) -> str:
        """Why a chunk was refused since the last one was accepted; empty where none was."""
        return self._player.refusal

    @property
    def place(self) -> Row:
        """Where the robot is told to be, one lead ahead of the present."""
        return self._player.place

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person; empty once a chunk is played again."""
        return self._player.fault

    @property
    def chunk_jump(self) -> float:
        """The largest distance of the newest chunk from the path on its arrival, rad or m."""
        return self._player.chunk_jump

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the present command on, s."""
        return self._player.braking_s + self.lead_s

    def report(self) -> list[JointReport]:
        """Report every commanded value at the present; the targets are moved by the same way."""
        lead = self._way_ahead()
        return [
            replace(
                one,
                target=one.target - way,
                command=one.command - way,
                measured=one.measured - way,
            )
            for one, way in zip(self._player.report(), lead.tolist(), strict=False)
        ]

    def fallback_brake(self) -> BrakeMotion | None:
        """The commands to come, and a way to rest after them; None where nothing was commanded."""
        brake = self._player.fallback_brake()
        left = [command.vector for command in self._known()[1:]]
        return BrakeMotion(left, brake) if brake is not None else None

    # What the player is told

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Store measured positions: as far beside the command ahead as beside that of their time.

        Args:
            positions: Positions of joints and of whole poses, by their index, rad (or m).
            stamp_ns: When they were there, ns.
        """
        self._measured_ns.update(dict.fromkeys(positions, stamp_ns))
        self._positions.update(positions)
        self._player.measure(self._moved_ahead(positions, stamp_ns), stamp_ns + self._lead_ns)

    def inhibit(self, reason: str) -> None:
        """Forbid motion for a reason: the robot comes to rest. An empty reason allows motion."""
        self._player.inhibit(reason)

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest, one lead after the present.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
            reason: The value of `reason` until the next chunk is accepted.
        """
        self._player.hold(self._time_ahead(now_ns), reason)

    def change_limits(self, limits: Mapping[int, JointLimits], now_ns: int) -> None:
        """Use other limits of the joints, by index, after coming to rest within these."""
        self._player.change_limits(limits, self._time_ahead(now_ns))

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Accept a chunk as the newest; it takes over one lead after the present.

        Raises:
            ChunkRefusedError: As for `MotionPlayer.offer`.
        """
        self._player.offer(chunk, self._time_ahead(now_ns))

    def steer(self, target: Row, now_ns: int) -> None:
        """Have the robot follow a person's target, one lead after the present.

        Raises:
            SteeringRefusedError: As for `MotionPlayer.steer`.
        """
        self._player.steer(target, self._time_ahead(now_ns))

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused before it could be offered."""
        self._player.refuse(reason)

    def explain_refusal(self, reason: str) -> None:
        """Replace the reason of the last refusal by one that says more."""
        self._player.explain_refusal(reason)

    # Ticks and forecasts

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick; None before there is anything to command.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
        """
        due = self._due_ticks(now_ns)
        for tick_ns in due:
            if len(due) > 1:
                self._measure_again()
            self._ticked_ns = tick_ns
            command = self._player.tick(tick_ns)
            self._ahead.append(command)
            if command is not None and not self._is_forecasting:
                self._has_departed |= self._departs(command.vector, tick_ns)
        return self._ahead[0]

    def take_forecast(self) -> Forecast | None:
        """A forecast of the path if it has departed from the last one, and none is under way.

        `finish_forecast` ends it.
        """
        if self._is_forecasting or not self._has_departed or self._ticked_ns is None:
            return None
        self._is_forecasting, self._has_departed = True, False
        motion = PlayerMotion(self._player.copy_ahead(), self._ticked_ns, self._period_ns)
        rows = [command.vector for command in self._known()]
        start_ns = self._ticked_ns - (len(rows) - 1) * self._period_ns
        return Forecast(start_ns, self._period_ns, rows, motion, self._layout.slices)

    def finish_forecast(self, trajectory: Trajectory) -> None:
        """Go on from a forecast that has been sent."""
        self._newest = trajectory
        self._is_forecasting = False

    def _known(self) -> list[Command]:
        """The commands that go out or went out, from the present to the newest."""
        known = [command for command in self._ahead if command is not None]
        if not self._silent_at_rest:
            return known
        return [command for command in known if not command.at_rest] or known[-1:]

    def _departs(self, row: Row, tick_ns: int) -> bool:
        if self._newest is None:
            return True
        distances = np.abs(row - self._newest.row_at(tick_ns))
        return bool((distances[self._is_forecast] > SAME).any())

    def _due_ticks(self, now_ns: int) -> range:
        """The ticks that the player has to make until it is one lead ahead of the present, ns."""
        ahead_ns, period_ns = now_ns + self._lead_ns, self._period_ns
        if self._ticked_ns is None:
            return range(ahead_ns, ahead_ns + 1)
        due_ns = ahead_ns - self._ticked_ns
        if not -CLOCK_JUMP_NS < due_ns < MAX_CATCH_UP_S * 1e9:
            return range(ahead_ns, ahead_ns + 1)  # the player deals with clocks that jump
        first_ns = self._ticked_ns + period_ns
        return range(first_ns, first_ns + round(due_ns / period_ns) * period_ns, period_ns)

    def _time_ahead(self, now_ns: int) -> int:
        """The player's time at the present: its newest tick, unless the clock was set."""
        ticked_ns, ahead_ns = self._ticked_ns, now_ns + self._lead_ns
        if ticked_ns is None or abs(ahead_ns - ticked_ns) > CLOCK_JUMP_NS:
            return ahead_ns
        return ticked_ns

    def _measure_again(self) -> None:
        """Have the measurements go along with the commands, while ticks are made up for."""
        for stamp_ns in set(self._measured_ns.values()):
            of_stamp = {
                i: self._positions[i] for i, s in self._measured_ns.items() if s == stamp_ns
            }
            self.measure(of_stamp, stamp_ns)

    def _moved_ahead(self, positions: Mapping[int, float], stamp_ns: int) -> Mapping[int, float]:
        known = self._known()
        if not known or (known[0].at_rest and known[-1].at_rest):
            return positions
        newest = self._newest
        expected = known[0].vector if newest is None else np.array(newest.row_at(stamp_ns))
        measured, indices = expected.copy(), list(positions)
        measured[indices] = list(positions.values())
        beside = self._layout.offset(measured, expected)
        moved = self._layout.with_offset(known[-1].vector, beside)
        return dict(zip(indices, moved[indices].tolist(), strict=True))

    def _way_ahead(self) -> Row:
        """How far the newest command is ahead of the present one, float64 (size,)."""
        known = self._known()
        return known[-1].vector - known[0].vector if known else np.zeros(self._layout.size)
