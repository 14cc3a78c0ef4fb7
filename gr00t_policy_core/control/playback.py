# SPDX-License-Identifier: Apache-2.0
"""What the commands follow, a chunk or a person, and how they come to rest without either."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk, ChunkProgress
from gr00t_policy_core.control.blend import HandoverState
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.command import Command, PlayerCounts
from gr00t_policy_core.control.command_output import CommandOutput
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.measured_state import MeasuredState
from gr00t_policy_core.control.motion_state import MotionPhase, MotionState
from gr00t_policy_core.control.playback_clock import PlaybackClock
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.rest_keeper import RestKeeper
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.steering import Steering, require_in_range, require_steerable
from gr00t_policy_core.control.workspace import Workspace


class Playback:
    """Makes the commands, and asks nobody whether they are allowed.

    All its instants but those of `pass_time` and `time_at` are playback time, ns.

    Args:
        layout: Layout of the action keys in the vector of commands.
        settings: What a player needs to know about the robot.
        schedule: The path of the chunks.
        measured: Where the robot really is.
        state: What the commands do, and why they hold.
        rest: Where motion begins from rest.
        counts: The player's counts.
    """

    def __init__(
        self,
        layout: ActionLayout,
        settings: PlayerSettings,
        *,
        schedule: ChunkSchedule,
        measured: MeasuredState,
        state: MotionState,
        rest: RestKeeper,
        counts: PlayerCounts,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._schedule = schedule
        self._measured = measured
        self._state = state
        self._rest = rest
        self._counts = counts
        self._period_ns = round(settings.period_s * 1e9)
        self._clock = PlaybackClock(self._period_ns)
        self._output: CommandOutput | None = None  # from the first chunk on
        self._progress = ChunkProgress()
        self._steering: Steering | None = None  # while a person steers
        self._fallback: FallbackBrake | None = None  # while it brakes at once

    @property
    def settings(self) -> PlayerSettings:
        """The settings, with the limits in force."""
        return self._settings

    @property
    def output(self) -> CommandOutput | None:
        """The last commands and their limits; None before the first chunk or target."""
        return self._output

    @property
    def chunk_id(self) -> int:
        """The chunk that was played last."""
        return self._progress.chunk_id

    @property
    def is_steered(self) -> bool:
        """Whether the commands follow a person."""
        return self._steering is not None

    @property
    def is_braking_at_once(self) -> bool:
        """Whether the commands come to rest by the largest accelerations."""
        return self._fallback is not None

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        brake = self._fallback or self._output
        return brake.braking_s if brake is not None else 0.0

    @property
    def is_following(self) -> bool:
        """Whether the commands follow a chunk or a person."""
        return self._schedule.is_playing or self.is_steered

    @property
    def place(self) -> Row:
        """Where the robot is told to be, float64 (size,); NaN where nothing was measured."""
        if self._steering is not None:
            return self._steering.target
        return self._measured.positions if self._output is None else self._output.last

    @property
    def is_moved(self) -> bool:
        """Whether somebody has moved the robot since it was stopped: nothing is commanded."""
        return not self.is_following and self._rest.is_moved

    def silent_s(self, at_ns: int) -> float:
        """How long ago a person's newest target came, s; 0 while nobody steers."""
        return self._steering.silent_s(at_ns) if self._steering is not None else 0.0

    # Time

    def time_at(self, now_ns: int) -> int:
        """The playback time of an instant between two ticks, ns, on the clock of the stamps."""
        return self._clock.at(now_ns)

    def pass_time(self, now_ns: int) -> int:
        """Let time pass up to a tick, ns, on the clock of the stamps; returns its playback time."""
        self._counts.ticks += 1
        tick = self._clock.tick(now_ns)
        if tick.set_back_ns:
            if self.is_steered:
                self.hold_if_set_back(tick.set_back_ns, tick.now_ns)
            self._measured.restamp(now_ns)
            broken_off_ns = self._schedule.set_back(tick.now_ns, tick.set_back_ns)
            self.hold_if_set_back(broken_off_ns, tick.now_ns)
        elif tick.stalled_ns:
            if self._schedule.is_playing:
                self._count_stall(tick.stalled_ns)
            self._schedule.delay(tick.now_ns, tick.stalled_ns)
        self.hold_if_set_back(self._schedule.advance(tick.now_ns), tick.now_ns)
        return tick.now_ns

    # What is followed

    def play(self, planned: ActiveChunk, start: Row, at_ns: int) -> None:
        """Follow a chunk from now on, and from this place if the robot rests."""
        before = self._output
        output = self._begin(start, at_ns)
        path = self._schedule.handover(at_ns)
        self._schedule.take(planned, at_ns, output.handover(path, at_ns) if path else None)
        self._state.accept(is_placed=output is not before)
        self._counts.chunks += 1
        entered = self._schedule.progress(at_ns)
        self._counts.steps_skipped += planned.chunk.horizon - 1 - entered.steps_left

    def steer(self, target: Row, at_ns: int) -> None:
        """Follow a person's target, float64 (size,), from now on.

        Raises:
            SteeringRefusedError: The target is not one that the robot can go to from where it is or
                from the target before.
        """
        if self._steering is None:
            self._begin_steering(target, at_ns)
            return
        require_steerable(self._layout, self._settings, target=target, origin=self._steering.target)
        self._steering = self._steering.toward(target, at_ns)

    def hold(self, at_ns: int, reason: str) -> None:
        """Follow nothing, and come to rest for this reason."""
        is_starting = self._state.phase is MotionPhase.STARTING
        # Where the first command is still to come, it is where the robot is: nothing moves yet.
        place = self._output.last if is_starting and self._output is not None else None
        if self._steering is not None:
            place = self._steering.at(at_ns) if place is None else place
            self._steering = None
        self._schedule.rest(at_ns, place)
        self._state.hold(reason)

    def rest_where_measured(self, keys: Collection[str], at_ns: int) -> None:
        """At rest, command the joints of some keys where they are measured from now on."""
        if self._output is None or self._state.is_moving:
            return
        here = np.array(self._output.last)
        measured = self._measured.over(here)
        for key in keys:
            here[self._layout.slices[key]] = measured[self._layout.slices[key]]
        here[self._layout.is_velocity] = 0.0
        self._schedule.rest(at_ns, here)
        self._place(here)

    def brake_at_once(self, path: tuple[Row, Row], at_ns: int, reason: str) -> None:
        """Follow nothing, and come to rest by the largest accelerations.

        Args:
            path: The commands from which the robot brakes, the older one first, float64 (size,)
                each; they need not be those that were made here.
            at_ns: Playback time of the second.
            reason: Why.
        """
        if self._output is None:
            return
        self.hold(at_ns, reason)
        self._measured.start_moving()  # the robot does, whatever it was taken for until now
        self._schedule.rest(at_ns, path[1])
        self._fallback = self._place(path[1]).fallback_brake(path)
        self._state.brake()

    def _count_stall(self, stalled_ns: int) -> None:
        """Count a stall, ns; a tick that comes early (negative) takes back a part of the last."""
        counts = self._counts
        counts.stalls += stalled_ns > 0
        counts.stalled_ns = max(0, counts.stalled_ns + stalled_ns)

    def hold_if_set_back(self, set_back_ns: int, at_ns: int) -> None:
        """Come to rest where a chunk was broken off because the clock was set back, by so much."""
        if set_back_ns:
            self.hold(at_ns, f"the clock was set back by {set_back_ns * 1e-9:.2f} s")

    def change_limits(
        self, limits: Mapping[int, JointLimits], workspaces: tuple[Workspace, ...]
    ) -> None:
        """Go on at rest within other limits."""
        self._settings = replace(self._settings, limits=limits, workspaces=workspaces)
        self._schedule.change_ramp_limits(self._settings.ramp_limits(self._layout))
        if self._output is not None:
            self._place(self._output.last)

    # Commands

    def start_where_moved(self, output: CommandOutput, at_ns: int) -> CommandOutput:
        """Rest elsewhere where the robot was moved since its first chunk was accepted."""
        if self._state.phase is not MotionPhase.STARTING:
            return output
        here = self._rest.moved_start(output.last)
        if here is output.last:
            return output
        self.hold(at_ns, "the robot was moved before its first command")
        self._schedule.rest(at_ns, here)
        return self._place(here)

    def follow(self, output: CommandOutput, at_ns: int) -> Command:
        """One tick along the path of the chunks or of a person, inside the limits."""
        self._counts.fresh += 1
        followed = self._steering or self._schedule
        path = followed.path_by_ticks(at_ns, self._period_ns)
        if self._steering is None:
            self._progress = self._schedule.progress(at_ns)
        is_first = self._state.phase is MotionPhase.STARTING
        vector = output.begin(path, at_ns) if is_first else output.follow(path, at_ns)
        self._state.follow()
        values, targets = self._layout.split(vector), self._layout.split(output.target)
        return Command.fresh(values, targets, self._progress)

    def come_to_rest(
        self, output: CommandOutput, at_ns: int, *, is_measured: bool, is_under_way: bool
    ) -> Command:
        """One tick of settling at the end of the chunk, of braking, or of rest.

        Args:
            output: The last commands and their limits.
            at_ns: The tick.
            is_measured: Whether the measurements are of this time.
            is_under_way: Whether the robot is still on its way to rest.
        """
        if self._fallback is not None:
            return self._brake_at_once(output, self._fallback, at_ns)
        was_moved = self._rest.is_moved
        vector = self._rest.tick(output, at_ns, is_measured=is_measured, is_under_way=is_under_way)
        if was_moved and not self._rest.is_moved:
            here = self._rest.place_beside(vector)
            if here is not vector:
                self._schedule.rest(at_ns, here)
                output, vector = self._place(here), here
        values, targets = self._layout.split(vector), self._layout.split(output.target)
        is_withheld = self._rest.is_moved
        at_rest = output.is_at_rest or is_withheld
        return Command.holds(
            values, targets, self.chunk_id, at_rest=at_rest, is_withheld=is_withheld
        )

    def _brake_at_once(self, output: CommandOutput, brake: FallbackBrake, at_ns: int) -> Command:
        vector = output.carry(brake.step(), at_ns)
        self._schedule.rest(at_ns, vector)
        if brake.is_at_rest:
            self._fallback = None
            self._place(vector)
            self._state.rest()
        values = self._layout.split(vector)
        return Command.holds(values, values, self.chunk_id, at_rest=brake.is_at_rest)

    def _begin_steering(self, target: Row, at_ns: int) -> None:
        self.hold_if_set_back(self._schedule.advance(at_ns), at_ns)
        before = self._output
        if before is not None and self._state.is_moving:
            start = before.last
        else:
            start = self._rest.start(target, before)
            require_in_range(self._layout, self._settings, start)
        require_steerable(self._layout, self._settings, target=target, origin=start)
        output = self._begin(start, at_ns)
        path = self._schedule.handover(at_ns)
        handover = HandoverState(start, start) if path is None else output.handover(path, at_ns)
        self._schedule.rest(at_ns)
        # No observation is behind what a person commands, and no step of the chunk is left.
        self._progress = ChunkProgress(self._progress.chunk_id)
        self._steering = Steering.begin(
            self._layout, self._settings, target=target, handover=handover, now_ns=at_ns
        )
        self._state.accept(is_placed=output is not before)

    def _begin(self, start: Row, at_ns: int) -> CommandOutput:
        """Go on from the last command, or from rest at this place."""
        output = self._output
        if output is not None and self._state.is_moving:
            return output
        self._measured.start_moving()
        if output is not None and output.last is start:
            return output
        self._schedule.rest(at_ns, start)
        if output is not None and not (self._settings.silent_at_rest or self._rest.is_moved):
            return output
        return self._place(start)

    def _place(self, start: Row) -> CommandOutput:
        """Command this place next, whatever was commanded before, and go on from there."""
        self._output = CommandOutput(
            self._layout, self._settings, start=start, limit_hits=self._counts.limit_hits
        )
        return self._output
