# SPDX-License-Identifier: Apache-2.0
"""Plays chunks a little ahead of time, so that whole trajectories reach a controller in time.

The player lives in the future by the lead: what it commands at a tick is what the robot should do
one lead later. So there is time to forecast the path to its end, and to send it, before the robot
gets to where it departs from the path before. A stop does not wait for the lead: the player goes
back to where the robot is about to be, and brakes from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_ahead import PlayerAhead
from gr00t_policy_core.control.recording import Offered, Steered
from gr00t_policy_core.control.sent_path import SentPath
from gr00t_policy_core.control.stop_watch import MissedStop, StopWatch
from gr00t_policy_core.control.stops_ahead import StopsAhead
from gr00t_policy_core.control.streamed_commands import StreamedCommands
from gr00t_policy_core.control.trajectory import BrakeMotion, Forecast, PlayerMotion, Trajectory
from gr00t_policy_core.control.workspace import Workspace

# A late trajectory that makes a smaller step is sent, rad (or m). A judgement: at 1 rad/s a stream
# whose tick comes 2 ms late makes that step, too. With more, a controller has to jump where the
# chunk could have been planned again from the present; with less, a busy machine plans chunks anew,
# and then refuses them, where nobody would have felt the step.
MAX_LATE_STEP = 0.002


class LookAheadPlayer:
    """A player that is ticked ahead of time; what it commands at a tick comes out one lead later.

    It forecasts its own path whenever a command departs from the path that was forecast last: at a
    new chunk, at a stop, at anything else. In between the forecast is exact. Ticks that the control
    loop misses are made up for, because the controller does not stand still for them.

    Args:
        player: The player; only this object calls it from now on.
        layout: Its layout.
        period_s: Time between two ticks, s.
        lead_s: The shortest lead, s; rounded up to whole ticks.
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
        self._layout = layout
        self._period_ns = round(period_s * 1e9)
        self._path = SentPath(layout, forecast_keys)
        self._ahead = PlayerAhead(
            player,
            layout,
            self._path,
            period_s=period_s,
            lead_s=lead_s,
            silent_at_rest=silent_at_rest,
        )
        self._stops = StopsAhead(self._ahead, self._path)
        self._watch = StopWatch(self._path)
        self._missed: MissedStop | None = None
        self._streamed = StreamedCommands(
            layout,
            layout.dimensions.keys() - set(forecast_keys),
            period_s=period_s,
            is_silent=silent_at_rest,
        )
        self._retried: Chunk | None = None  # the newest chunk that was offered a second time
        self._too_late = (
            "its trajectory was ready after the robot had to depart, "
            f"trajectory_lead_s {lead_s:g} is too short"
        )

    # What the player says of itself

    @property
    def player(self) -> MotionPlayer:
        """The player that is ticked ahead."""
        return self._ahead.player

    @property
    def lead_s(self) -> float:
        """How far the player is ahead of the present, s: more while trajectories are late."""
        return self._ahead.lead_ns * 1e-9

    @property
    def counts(self) -> PlayerCounts:
        """The player's counts, without what a stop at this moment would undo."""
        return self._ahead.player_at_stop.counts

    @property
    def reason(self) -> str:
        """Why no chunk is played; empty while a chunk is."""
        return self.player.reason

    @property
    def is_steered(self) -> bool:
        """Whether a person steers the robot at present."""
        return self.player.is_steered

    @property
    def layout(self) -> ActionLayout:
        """Layout of the command vector."""
        return self._layout

    @property
    def streamed_keys(self) -> frozenset[str]:
        """The action keys that are commanded at every tick, beside the trajectories."""
        return self._streamed.keys

    @property
    def refusal(self) -> str:
        """Why a chunk was refused since the last one was accepted; empty where none was."""
        return self.player.refusal

    @property
    def place(self) -> Row:
        """Where the robot is told to be, one lead ahead of the present."""
        return self.player.place

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person; empty once a chunk is played again."""
        return self.player.fault

    @property
    def chunk_jump(self) -> float:
        """As `MotionPlayer.chunk_jump`."""
        return self.player.chunk_jump

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the present command on, s."""
        return self._ahead.player_at_stop.braking_s + self._ahead.stop_lead_ns * 1e-9

    @property
    def is_sent(self) -> bool:
        """Whether the controller was sent the path of all commands so far."""
        return self._path.is_current

    @property
    def has_sent_path(self) -> bool:
        """Whether the robot was sent a path, and was not moved by others since it ended."""
        return self._path.end_ns is not None

    @property
    def is_at_rest(self) -> bool:
        """Whether the robot was told nothing, or to rest, and its controller the way there.

        Until then the robot goes on by the trajectory before, or is about to depart on it.
        """
        commands = self._ahead.commands
        present = commands.present
        if present is None or present.is_withheld:
            rests = commands.is_at_rest and not self._stops.is_unsent
        else:
            rests = present.at_rest and self.is_sent
        return rests and self._streamed.is_at_rest

    @property
    def is_stop_in_doubt(self) -> bool:
        """Whether it is not known yet that the robot carries the newest stop out."""
        return self._path.stop is not None

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
            for one, way in zip(self.player.report(), lead.tolist(), strict=False)
        ]

    def fallback_brake(self, now_ns: int) -> BrakeMotion | None:
        """Where the controller goes from now on, and soon a way to rest that needs no player.

        Args:
            now_ns: The present, on the clock of the stamps, ns.

        Returns:
            The commands from the present on; None where nothing was commanded.
        """
        start_ns, rows = self._ahead.sent_rows(now_ns)
        if not rows:
            return None
        brake = self.player.fallback_brake((rows[-2] if len(rows) > 1 else rows[-1], rows[-1]))
        return BrakeMotion(start_ns, rows, brake, self._path.slices) if brake is not None else None

    def streamed_brake(self) -> FallbackBrake | None:
        """A way to rest of what is streamed, that needs no player; None where nothing is."""
        newest = self._streamed.newest
        return self.player.fallback_brake(newest) if newest is not None else None

    # What the player is told

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Store measured positions: as far beside the command ahead as beside that of their time.

        Args:
            positions: Positions of joints and of whole poses, by their index, rad (or m).
            stamp_ns: When they were there, ns.
        """
        self._ahead.measure(positions, stamp_ns)

    def inhibit(self, reason: str) -> None:
        """Forbid motion for a reason, from the next call that tells the time on.

        An empty reason allows motion.
        """
        self._stops.inhibit(reason)

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest, as soon as a trajectory can be sent.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
            reason: The value of `reason` until the next chunk is accepted.
        """
        self._stops.stop(now_ns, reason)

    def release(self, keys: Collection[str], now_ns: int, reason: str) -> None:
        """As `StopsAhead.release`: the controllers of some action keys hold by themselves."""
        self._stops.release(keys, now_ns, reason)

    def change_limits(
        self,
        limits: Mapping[int, JointLimits],
        now_ns: int,
        workspaces: tuple[Workspace, ...] = (),
    ) -> None:
        """Use other limits after coming to rest within these; as `MotionPlayer.change_limits`."""
        self._stops.change_limits(limits, now_ns, workspaces)

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Accept a chunk as the newest; it takes over one lead after the present.

        Raises:
            ChunkRefusedError: As for `MotionPlayer.offer`.
        """
        self._stops.begin_if_due(now_ns)
        ahead_ns = self._ahead.time_ahead(now_ns)
        try:
            self.player.offer(chunk, ahead_ns)
        except ChunkRefusedError as error:
            self._ahead.player_at_stop.refuse(str(error))
            raise
        self._streamed.begin()
        self._ahead.note(Offered(chunk, ahead_ns))
        # It may begin like the one before, whose trajectory comes to rest where this one goes on.
        self._path.depart()

    def steer(self, target: Row, now_ns: int) -> None:
        """Have the robot follow a person's target, one lead after the present.

        Raises:
            SteeringRefusedError: As for `MotionPlayer.steer`.
        """
        self._stops.begin_if_due(now_ns)
        ahead_ns = self._ahead.time_ahead(now_ns)
        self.player.steer(target, ahead_ns)
        self._streamed.begin()
        self._ahead.note(Steered(tuple(target.tolist()), ahead_ns))

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused before it could be offered."""
        self._ahead.refuse(reason)

    def explain_refusal(self, reason: str) -> None:
        """Replace the reason of the last refusal by one that says more."""
        self.player.explain_refusal(reason)

    # Ticks and forecasts

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick; None before there is anything to command.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
        """
        self._stops.begin_if_due(now_ns)
        self._stops.catch_up(now_ns)
        was_braking = self.player.is_braking
        is_steady = self._ahead.tick(now_ns)
        begins_to_brake = self.player.is_braking and not was_braking
        if is_steady and begins_to_brake and not self._path.is_current:
            self._stops.brake_at_present(now_ns)
        self._ahead.advance()
        self._stops.tick()
        self._brake_again_if_missed(now_ns)
        measured = self._ahead.measured.positions
        return self._streamed.follow(self._ahead.commands, self.player.settings, measured)

    def take_missed_stop(self) -> MissedStop | None:
        """A stop that controllers have missed, whose trajectory is to be sent now; told once."""
        missed, self._missed = self._missed, None
        return missed

    def take_forecast(self) -> Forecast | None:
        """A forecast of the path if it has departed from the last one, and none is under way.

        `finish_forecast` or `retry` ends it.
        """
        ticked_ns = self._ahead.ticked_ns
        if self._path.is_forecasting or not self._path.has_departed or ticked_ns is None:
            return None
        if self._ahead.sent.is_told:  # between the tick and now: the next tick shows it
            return None
        if any(command.is_withheld for command in self._ahead.commands.known):
            return None
        forecast = Forecast(
            self._ahead.known_from_ns,
            self._period_ns,
            [command.vector for command in self._ahead.commands.known],
            PlayerMotion(self.player.copy_ahead(), ticked_ns, self._period_ns),
            self._path.slices,
            departure_ns=self._ahead.departure_ns,
            is_stop=self._stops.is_unsent,
        )
        self._path.begin(forecast)
        self._ahead.begin_forecast()
        return forecast

    def awaits(self, forecast: Forecast) -> bool:
        """Whether a forecast is still to be sent: no stop has come since it was taken."""
        return self._path.is_awaited(forecast)

    def is_too_late(self, trajectory: Trajectory, now_ns: int) -> bool:
        """Whether the controller would jump to this path, or reject it, if it came now, ns.

        A stop that has undone a motion which was sent already may make a step, of the way that the
        robot goes in one lead: it begins that motion, of which a stop that is planned again knows
        nothing.
        """
        longest = MAX_LATE_STEP
        if self._stops.is_unsent and self._ahead.sent.has_undone_sent:
            longest += self._path.way(now_ns, now_ns + self._ahead.lead_ns)
        would_step = self._path.step_to(trajectory, now_ns) > longest
        return would_step or now_ns >= trajectory.end_ns

    def finish_forecast(self, forecast: Forecast, trajectory: Trajectory) -> None:
        """Go on from a forecast that has been sent."""
        if not self._path.is_awaited(forecast):
            return
        is_stop = forecast.is_stop and self._ahead.comes_to_rest
        self._path.finish(trajectory, is_stop=is_stop)
        self._stops.finish(forecast)
        self._ahead.compare()
        self._ahead.advance()

    def take_path(self, trajectory: Trajectory) -> None:
        """Learn that the controller was sent a trajectory that this player has not made."""
        self._path.finish(trajectory)

    def retry(self, forecast: Forecast, now_ns: int) -> Trajectory | None:
        """Plan again from the present, because the robot should have departed already.

        A stop departs from the path that the robot was sent as much later as its forecast took; one
        that is late for long has the robot brake at once. The newest chunk is offered once more,
        with a longer lead. If that is late, too, it is refused: the robot stays on the path that it
        was sent.

        Args:
            forecast: The forecast that came too late.
            now_ns: The present, on the clock of the stamps, ns.

        Returns:
            A way to rest that is to be sent at once, and counts as sent; None where there is none.
        """
        self._stops.begin_if_due(now_ns)
        if not self._path.is_awaited(forecast):
            return None
        chunk = self._ahead.sent.unsent_chunk
        at_once = None
        if forecast.is_stop:
            at_once = self._stops.stop_again(forecast, now_ns)
        elif chunk is None and not self.is_steered:
            # The player's own path has departed, on which the robot is not any more.
            at_once = self._stops.brake_at_once(now_ns, self._too_late)
        else:
            present_ns = self._stops.go_back(now_ns)
            self._ahead.lengthen_lead(now_ns - forecast.departure_ns)
            self._ahead.go_ahead(present_ns)
        if chunk is not None:
            self._offer_again(chunk, now_ns)
        return at_once

    def _brake_again_if_missed(self, now_ns: int) -> None:
        """Brake again, where the robot is, if controllers have missed the newest stop."""
        keys = self._watch.missed_by(self._ahead.measured, now_ns)
        trajectory = self._stops.brake_again(keys, now_ns) if keys else None
        if trajectory is not None:
            self._missed = MissedStop(keys, trajectory)

    def _offer_again(self, chunk: Chunk, now_ns: int) -> None:
        """Offer a chunk whose trajectory was late, unless it was late before."""
        if chunk is self._retried:
            self.refuse(f"chunk {chunk.chunk_id}: {self._too_late}")
            return
        self._retried = chunk
        with contextlib.suppress(ChunkRefusedError):
            self.offer(chunk, now_ns)

    def _way_ahead(self) -> Row:
        """How far the newest command is ahead of the present one, float64 (size,)."""
        known = self._ahead.commands.known
        return known[-1].vector - known[0].vector if known else np.zeros(self._layout.size)
