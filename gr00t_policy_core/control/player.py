# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: the schedule, the limits of the robot, and every reason to stop.

Pure and driven by the clock that it is given: the same calls give the same commands, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.admission import ChunkAdmission
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.command_output import CommandOutput
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.measured_state import MeasuredState
from gr00t_policy_core.control.motion_state import MotionPhase, MotionState
from gr00t_policy_core.control.playback import Playback
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.rest_keeper import RestKeeper
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_policy_core.control.stop_conditions import (
    NEW_LIMITS,
    StopConditions,
    reason_after_stop,
)
from gr00t_policy_core.control.workspace import Workspace

BRAKES = "the robot brakes by its largest accelerations, since its stop came late"
MOVED = "the robot was moved since: nothing is commanded until it stands still"


class MotionPlayer:
    """Plays chunks inside the limits, and comes to a stop inside them when there is a reason to.

    The admission decides whether a chunk may be played, the stop conditions what forbids motion,
    and the playback makes the commands. They share the schedule, which knows the path, the measured
    state, where the robot really is, and the motion state, what the commands do and why they hold.

    Args:
        layout: Layout of the action keys in the vector of commands.
        settings: What the player needs to know about the robot.
    """

    def __init__(self, layout: ActionLayout, settings: PlayerSettings) -> None:
        self.counts = PlayerCounts()
        self._layout = layout
        self._schedule = ChunkSchedule(layout, settings.schedule, settings.ramp_limits(layout))
        self._measured = MeasuredState(
            layout, settings.max_joint_ages_s, settings.max_following_errors
        )
        self._conditions = StopConditions(self._measured, settings.observation_age)
        self._state = MotionState(self.counts)
        schedule, measured, state = self._schedule, self._measured, self._state
        rest = RestKeeper(layout, schedule, measured, state, is_silent=settings.silent_at_rest)
        self._admission = ChunkAdmission(layout, schedule, self._conditions, state, rest)
        self._playback = Playback(
            layout,
            settings,
            schedule=schedule,
            measured=measured,
            state=state,
            rest=rest,
            counts=self.counts,
        )
        # Limits and workspaces that wait for the commands to come to rest.
        self._awaited: tuple[Mapping[int, JointLimits], tuple[Workspace, ...]] | None = None

    @property
    def reason(self) -> str:
        """Why nothing was followed at the last tick; empty while a chunk or a person is."""
        if self._playback.is_following:
            return ""
        if self._playback.output is None:
            return self._state.why_nothing_was_commanded()
        held = self._state.why_it_holds(self._playback.chunk_id)
        return f"{held}; {MOVED}" if self._playback.is_moved else held

    @property
    def has_begun(self) -> bool:
        """Whether there is something to command: a chunk or a target was accepted."""
        return self._playback.output is not None

    @property
    def is_braking(self) -> bool:
        """Whether the commands come to rest as fast as the limits allow."""
        return self._state.phase is MotionPhase.BRAKING

    @property
    def is_steered(self) -> bool:
        """Whether the commands follow a person."""
        return self._playback.is_steered

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
        return self._playback.place

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
        return self._playback.braking_s

    @property
    def settings(self) -> PlayerSettings:
        """The settings, with the limits in force."""
        return self._playback.settings

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        """What the tips of arms never leave."""
        return self._playback.settings.workspaces

    def report(self) -> list[JointReport]:
        """Report every commanded value at the last tick; empty before the first command."""
        output = self._playback.output
        return [] if output is None else output.report(self._measured.positions)

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
        self._playback.hold(self._playback.time_at(now_ns), reason)

    def rest_where_measured(self, keys: Collection[str], now_ns: int) -> None:
        """At rest, command some joints where they are measured: they follow no command any more.

        Args:
            keys: The action keys of these joints; the others rest where they were commanded to.
            now_ns: The present, on the clock of the stamps, ns.
        """
        self._playback.rest_where_measured(keys, self._playback.time_at(now_ns))

    def brake_at_once(self, path: tuple[Row, Row], now_ns: int, reason: str) -> None:
        """Come to rest by the largest accelerations, without regard to jerk.

        Nothing else moves the robot before it is there.

        Args:
            path: The commands from which it brakes, the older one first, float64 (size,) each; they
                need not be those of this player.
            now_ns: The instant of the second, on the clock of the stamps, ns.
            reason: The value of `reason` until the next chunk is accepted.
        """
        self._playback.brake_at_once(path, self._playback.time_at(now_ns), reason)

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
        if self._playback.output is None:
            self._playback.change_limits(limits, workspaces)
            return
        self._awaited = limits, workspaces
        self._conditions.await_limits(True)
        self.hold(now_ns, NEW_LIMITS)

    def fallback_brake(self, path: tuple[Row, Row] | None = None) -> FallbackBrake | None:
        """A way to rest that needs nothing of this player; None where nothing was commanded.

        Args:
            path: The command before the last and the last, float64 (size,) each, where they are not
                this player's own.
        """
        output = self._playback.output
        return output.fallback_brake(path) if output is not None else None

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
        playback = self._playback
        at_ns, settings = playback.time_at(now_ns), playback.settings
        set_back_ns = 0
        try:
            if self.is_steered:
                raise ChunkRefusedError(f"chunk {chunk.chunk_id}: a person steers the robot")
            if playback.is_braking_at_once:
                raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {BRAKES}")
            self._admission.require_permission(chunk, settings, now_ns)
            set_back_ns = self._schedule.advance(at_ns)
            planned, start = self._admission.plan(chunk, settings, playback.output, at_ns)
        except ChunkRefusedError as error:
            playback.hold_if_set_back(set_back_ns, at_ns)
            self.refuse(str(error))
            raise
        playback.play(planned, start, at_ns)
        self._conditions.expect(planned.chunk)

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
        if self._playback.is_braking_at_once:
            raise SteeringRefusedError(BRAKES)
        self._playback.steer(target, self._playback.time_at(now_ns))

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused, here or before it could be offered."""
        self.counts.refused += 1
        self._state.refuse(reason)

    def explain_refusal(self, reason: str) -> None:
        """Replace the reason of the last refusal by one that says more."""
        self._state.refuse(reason)

    def tick(
        self, now_ns: int, *, is_missed: bool = False, is_under_way: bool = False
    ) -> Command | None:
        """The command of this tick; None before there is anything to command.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
            is_missed: Whether the tick is made up for after its time. Then the measurements, which
                are of another time, are not judged: no robot can brake in the past.
            is_under_way: Whether the robot is still on its way to where it is commanded to rest, or
                about to go elsewhere. Then nothing is withheld from it, nor is any joint held where
                it was moved to: all others would have to wait for their way to rest.
        """
        playback = self._playback
        at_ns = playback.pass_time(now_ns)
        self._state.inhibit(self._conditions.tick(now_ns, is_missed=is_missed))
        if playback.output is None:
            return None
        output = playback.start_where_moved(playback.output, at_ns)
        self._hold_if_needed(now_ns, at_ns)
        if not is_missed:
            self._judge_following(output, at_ns)
        if playback.is_following:
            command = playback.follow(output, at_ns)
        else:
            self._state.leave_path()
            if not self._state.is_moving and output.is_at_rest:
                self._take_awaited_limits()
            is_measured = not (is_missed or self._conditions.measurement_problem)
            command = playback.come_to_rest(
                playback.output, at_ns, is_measured=is_measured, is_under_way=is_under_way
            )
        if output.why_braked:
            playback.hold(at_ns, output.why_braked)
        return command

    def _hold_if_needed(self, now_ns: int, at_ns: int) -> None:
        """Begin to brake where there is a reason to.

        Once braking has begun, it ends at a standstill, even if the reason disappears.
        """
        playback, inhibited = self._playback, self._state.inhibit_reason
        if inhibited:
            playback.hold(at_ns, reason_after_stop(inhibited))
            return
        silent_s = playback.silent_s(at_ns)
        if silent_s > playback.settings.steering_timeout_s:
            playback.hold(at_ns, f"no teleoperation command came for {silent_s:.2f} s")
        observed_ns = self._schedule.progress(at_ns).observed_ns
        too_old = self._conditions.why_too_old(observed_ns, now_ns)
        if too_old:
            playback.hold(at_ns, too_old)

    def _judge_following(self, output: CommandOutput, at_ns: int) -> None:
        """Begin to brake where the robot does not follow; a fault is over once it does again."""
        state, fault = self._state, self._measured.following_error(output.last)
        if not fault and state.is_fault_seen:
            state.clear_fault()
        if fault and not (state.fault or state.inhibit_reason or self._playback.is_moved):
            state.fail(fault)
            self._playback.hold(at_ns, fault)

    def _take_awaited_limits(self) -> None:
        if self._awaited is not None:
            self._playback.change_limits(*self._awaited)
            self._awaited = None
            self._conditions.await_limits(False)
