# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: the schedule, the limits of the robot, and every reason to stop.

Pure and driven by the clock that it is given: the same calls give the same commands, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk, ChunkProgress
from gr00t_policy_core.control.admission import ChunkAdmission
from gr00t_policy_core.control.blend import HandoverState
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.command_output import CommandOutput
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.measured_state import MeasuredState
from gr00t_policy_core.control.motion_state import MotionPhase, MotionState
from gr00t_policy_core.control.playback_clock import PlaybackClock
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.rest_keeper import RestKeeper
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.steering import Steering, SteeringRefusedError, require_steerable
from gr00t_policy_core.control.stop_conditions import NEW_LIMITS, StopConditions
from gr00t_policy_core.control.workspace import Workspace


class MotionPlayer:
    """Plays chunks inside the limits, and comes to a stop inside them when there is a reason to.

    The schedule knows the path, the measured state where the robot really is, the stop conditions
    what forbids motion, the output the last commands and their limits, the motion state what the
    commands do and why they hold.

    Args:
        layout: Layout of the action keys in the vector of commands.
        settings: What the player needs to know about the robot.
    """

    def __init__(self, layout: ActionLayout, settings: PlayerSettings) -> None:
        self.counts = PlayerCounts()
        self._layout = layout
        self._settings = settings
        self._period_ns = round(settings.period_s * 1e9)
        self._clock = PlaybackClock(self._period_ns)
        self._schedule = ChunkSchedule(layout, settings.schedule, settings.ramp_limits(layout))
        self._measured = MeasuredState(
            layout, settings.max_joint_ages_s, settings.max_following_errors
        )
        self._conditions = StopConditions(self._measured, settings.observation_age)
        self._state = MotionState(self.counts)
        self._rest = RestKeeper(
            layout,
            self._schedule,
            self._measured,
            self._state,
            is_silent=settings.silent_at_rest,
        )
        self._admission = ChunkAdmission(
            layout, self._schedule, self._conditions, self._state, self._rest
        )
        self._output: CommandOutput | None = None  # from the first chunk on
        self._new_limits: Mapping[int, JointLimits] | None = None
        self._new_workspaces: tuple[Workspace, ...] = ()
        self._progress = ChunkProgress()
        self._steering: Steering | None = None  # while a person steers

    @property
    def reason(self) -> str:
        """Why nothing was followed at the last tick; empty while a chunk or a person is."""
        if self._schedule.is_playing or self.is_steered:
            return ""
        if self._output is None:
            return self._state.why_nothing_was_commanded()
        return self._state.why_it_holds(self._progress.chunk_id)

    @property
    def is_braking(self) -> bool:
        """Whether the commands come to rest as fast as the limits allow."""
        return self._state.phase is MotionPhase.BRAKING

    @property
    def is_steered(self) -> bool:
        """Whether the commands follow a person."""
        return self._steering is not None

    @property
    def layout(self) -> ActionLayout:
        """The layout of the vector of commands."""
        return self._layout

    @property
    def refusal(self) -> str:
        """Why the newest chunk was refused; empty where it was accepted."""
        return self._state.refusal

    @property
    def place(self) -> Row:
        """Where the robot is told to be, float64 (size,).

        The newest target of a person, else the last command, else the measured position, which is
        NaN where nothing was measured.
        """
        if self._steering is not None:
            return self._steering.target
        return self._measured.positions if self._output is None else self._output.last

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person.

        Empty once motion is allowed again and the robot follows, or a chunk is played again.
        """
        return self._state.fault

    @property
    def chunk_jump(self) -> float:
        """The largest distance of the newest chunk from the path on its arrival, rad or m."""
        return self._schedule.chunk_jump

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        return self._output.braking_s if self._output is not None else 0.0

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        """What the tips of arms never leave."""
        return self._settings.workspaces

    def report(self) -> list[JointReport]:
        """Report every commanded value at the last tick; empty before the first command."""
        return [] if self._output is None else self._output.report(self._measured.positions)

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Store the measured positions of the joints and poses.

        Args:
            positions: Positions of joints and of whole poses, by their index in the layout's
                vector, rad (or m); the others stay where they were last.
            stamp_ns: When they were there, ns.
        """
        self._measured.measure(positions, stamp_ns)

    def inhibit(self, reason: str) -> None:
        """Forbid motion for a reason: the robot comes to rest. An empty reason allows motion."""
        self._conditions.inhibit(reason)

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest now; the next chunk may move the robot again.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
            reason: The value of `reason` until the next chunk is accepted.
        """
        self._hold(self._clock.at(now_ns), reason)

    def change_limits(
        self,
        limits: Mapping[int, JointLimits],
        now_ns: int,
        workspaces: tuple[Workspace, ...] = (),
    ) -> None:
        """Use other limits, after coming to rest within the current ones.

        Args:
            limits: Limits of joints, by their index in the layout's vector.
            now_ns: The present, on the clock of the stamps, ns.
            workspaces: What the tips of arms never leave.
        """
        self._new_workspaces = workspaces
        if self._output is None:
            self._take_limits(limits)
            return
        self._new_limits = limits
        self._conditions.await_limits(True)
        self.hold(now_ns, NEW_LIMITS)

    def fallback_brake(self, path: tuple[Row, Row] | None = None) -> FallbackBrake | None:
        """A way to rest that needs nothing of this player; None where nothing was commanded.

        Args:
            path: The command before the last and the last, float64 (size,) each, where they are not
                this player's own.
        """
        return self._output.fallback_brake(path) if self._output is not None else None

    def copy_with_history(self) -> MotionPlayer:
        """A copy that goes on like this player, with everything that is recorded of it."""
        return deepcopy(self)

    def copy_ahead(self) -> MotionPlayer:
        """A copy that shows where the commands go by themselves, if the robot follows them."""
        copy = deepcopy(self)
        copy._measured.assume_followed()
        return copy

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Accept a chunk as the newest.

        Args:
            chunk: Its keys and dimensions must be those of the layout.
            now_ns: The present, on the clock of the stamps, ns.

        Raises:
            ChunkRefusedError: The motion is stopped, the schedule refuses the chunk, its
                observation is too old, it asks for what no robot can do, a joint is outside its
                range or a tip outside its workspace, or the chunk begins further than `max_jump`
                from where the joints are. What is played continues.
        """
        at_ns = self._clock.at(now_ns)
        set_back_ns = 0
        try:
            if self.is_steered:
                raise ChunkRefusedError(f"chunk {chunk.chunk_id}: a person steers the robot")
            self._admission.require_permission(chunk, self._settings, now_ns)
            set_back_ns = self._schedule.advance(at_ns)
            planned, start = self._admission.plan(chunk, self._settings, self._output, at_ns)
        except ChunkRefusedError as error:
            self._hold_if_set_back(set_back_ns, at_ns)
            self.refuse(str(error))
            raise
        self._play(planned, start, at_ns)

    def steer(self, target: Row, now_ns: int) -> None:
        """Go where a person wants the robot, in place of any chunk, until `hold` is called.

        The robot also comes to rest where no target comes for `PlayerSettings.steering_timeout_s`.

        Args:
            target: The person's newest target, float64 (size,), in the order of the layout.
            now_ns: The present, on the clock of the stamps, ns.

        Raises:
            SteeringRefusedError: Motion is inhibited, or the target is not one that the robot can
                go to from where it is or from the target before. What is played continues.
        """
        inhibited = self._conditions.why_inhibited(now_ns)
        if inhibited:
            raise SteeringRefusedError(inhibited)
        at_ns = self._clock.at(now_ns)
        if self._steering is None:
            self._begin_steering(target, at_ns)
            return
        require_steerable(self._layout, self._settings, target=target, origin=self._steering.target)
        self._steering = self._steering.toward(target, at_ns)

    def _begin_steering(self, target: Row, at_ns: int) -> None:
        self._hold_if_set_back(self._schedule.advance(at_ns), at_ns)
        before = self._output
        if before is not None and self._state.is_moving:
            start = before.last
        else:
            start = self._rest.start(target, before)
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

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused, here or before it could be offered."""
        self.counts.refused += 1
        self._state.refuse(reason)

    def explain_refusal(self, reason: str) -> None:
        """Replace the reason of the last refusal by one that says more."""
        self._state.refuse(reason)

    def _play(self, planned: ActiveChunk, start: Row, at_ns: int) -> None:
        before = self._output
        output = self._begin(start, at_ns)
        path = self._schedule.handover(at_ns)
        self._schedule.take(planned, at_ns, output.handover(path, at_ns) if path else None)
        self._state.accept(is_placed=output is not before)
        self._conditions.expect(planned.chunk)
        self.counts.chunks += 1
        entered = self._schedule.progress(at_ns)
        self.counts.steps_skipped += planned.chunk.horizon - 1 - entered.steps_left

    def _begin(self, start: Row, at_ns: int) -> CommandOutput:
        """Go on from the last command, or from rest at this place."""
        output = self._output
        if output is not None and self._state.is_moving:
            return output
        self._measured.start_moving()
        if output is not None and output.last is start:
            return output
        self._schedule.rest(at_ns, start)
        if output is not None and not self._settings.silent_at_rest:
            return output
        return self._place(start)

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick; None before there is anything to command.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
        """
        at_ns = self._pass_time(now_ns)
        self._state.inhibit(self._conditions.why_inhibited(now_ns))
        if self._output is None:
            return None
        output = self._moved_before_start(self._output, at_ns)
        if self._state.is_fault_seen and not self._measured.following_error(output.last):
            self._state.clear_fault()
        self._hold_if_needed(output, now_ns, at_ns)
        follows = self._schedule.is_playing or self.is_steered
        command = self._follow(output, at_ns) if follows else self._come_to_rest(output, at_ns)
        if output.why_braked:
            self._hold(at_ns, output.why_braked)
        return command

    def _pass_time(self, now_ns: int) -> int:
        """Let time pass up to a tick; returns its playback time, ns."""
        self.counts.ticks += 1
        tick = self._clock.tick(now_ns)
        if tick.set_back_ns:
            if self.is_steered:
                self._hold_if_set_back(tick.set_back_ns, tick.now_ns)
            self._measured.restamp(now_ns)
            broken_off_ns = self._schedule.set_back(tick.now_ns, tick.set_back_ns)
            self._hold_if_set_back(broken_off_ns, tick.now_ns)
        elif tick.stalled_ns:
            if self._schedule.is_playing:
                self.counts.stalls += 1
                self.counts.stalled_ns += tick.stalled_ns
            self._schedule.delay(tick.now_ns, tick.stalled_ns)
        self._hold_if_set_back(self._schedule.advance(tick.now_ns), tick.now_ns)
        return tick.now_ns

    def _moved_before_start(self, output: CommandOutput, at_ns: int) -> CommandOutput:
        """Rest elsewhere where the robot was moved since its first chunk was accepted."""
        if self._state.phase is not MotionPhase.STARTING:
            return output
        here = self._rest.moved_start(output.last)
        if here is output.last:
            return output
        self._hold(at_ns, "the robot was moved before its first command")
        self._schedule.rest(at_ns, here)
        return self._place(here)

    def _hold_if_needed(self, output: CommandOutput, now_ns: int, at_ns: int) -> None:
        """Begin to brake where there is a reason to.

        Once braking has begun, it ends at a standstill, even if the reason disappears.
        """
        inhibited = self._state.inhibit_reason
        if inhibited:
            self._hold(at_ns, f"no chunk came after a stop: {inhibited}")
            return
        if self._steering is not None:
            silent_s, limit_s = self._steering.silent_s(at_ns), self._settings.steering_timeout_s
            if silent_s > limit_s:
                self._hold(at_ns, f"no teleoperation command came for {silent_s:.2f} s")
        observed_ns = self._schedule.progress(at_ns).observed_ns
        too_old = self._conditions.why_too_old(observed_ns, now_ns)
        if too_old:
            self._hold(at_ns, too_old)
        fault = self._measured.following_error(output.last)
        if fault and not self._state.fault:
            self._state.fail(fault)
            self._hold(at_ns, fault)

    def _follow(self, output: CommandOutput, at_ns: int) -> Command:
        """One tick along the path of the chunks or of a person, inside the limits."""
        self.counts.fresh += 1
        followed = self._steering or self._schedule
        path = followed.path_by_ticks(at_ns, self._period_ns)
        if self._steering is None:
            self._progress = self._schedule.progress(at_ns)
        is_first = self._state.phase is MotionPhase.STARTING
        vector = output.begin(path, at_ns) if is_first else output.follow(path, at_ns)
        self._state.follow()
        values, targets = self._layout.split(vector), self._layout.split(output.target)
        return Command.fresh(values, targets, self._progress)

    def _come_to_rest(self, output: CommandOutput, at_ns: int) -> Command:
        """One tick of settling at the end of the chunk, of braking, or of rest."""
        self._state.leave_path()
        if self._new_limits is not None and not self._state.is_moving and output.is_at_rest:
            self._take_limits(self._new_limits)
            output = self._place(output.last)
        vector = self._rest.tick(output, at_ns)
        values, targets = self._layout.split(vector), self._layout.split(output.target)
        chunk_id = self._progress.chunk_id
        return Command.holds(values, targets, chunk_id, at_rest=output.is_at_rest)

    def _hold_if_set_back(self, set_back_ns: int, at_ns: int) -> None:
        """Come to rest where a chunk was broken off because the clock was set back, by so much."""
        if set_back_ns:
            self._hold(at_ns, f"the clock was set back by {set_back_ns * 1e-9:.2f} s")

    def _hold(self, at_ns: int, reason: str) -> None:
        is_starting = self._state.phase is MotionPhase.STARTING
        # Where the first command is still to come, it is where the robot is: nothing moves yet.
        place = self._output.last if is_starting and self._output is not None else None
        if self._steering is not None:
            place = self._steering.at(at_ns) if place is None else place
            self._steering = None
        self._schedule.rest(at_ns, place)
        self._state.hold(reason)

    def _place(self, start: Row) -> CommandOutput:
        """Command this place next, whatever was commanded before, and go on from there."""
        self._output = CommandOutput(
            self._layout, self._settings, start=start, limit_hits=self.counts.limit_hits
        )
        return self._output

    def _take_limits(self, limits: Mapping[int, JointLimits]) -> None:
        self._new_limits = None
        self._conditions.await_limits(False)
        self._settings = replace(self._settings, limits=limits, workspaces=self._new_workspaces)
        self._schedule.change_ramp_limits(self._settings.ramp_limits(self._layout))
