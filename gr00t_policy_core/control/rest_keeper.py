# SPDX-License-Identifier: Apache-2.0
"""Brings the commands to rest, keeps them there, and finds where they begin again."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.command_output import CommandOutput
from gr00t_policy_core.control.measured_state import MOVED, STILL, MeasuredState
from gr00t_policy_core.control.motion_state import MotionPhase, MotionState
from gr00t_policy_core.control.schedule import ChunkSchedule


class RestKeeper:
    """Brings the commands to rest where no chunk is played, and keeps them there.

    A robot that does not follow, or that somebody moves, while motion is inhibited is held where it
    stands still then. If it was moved, nothing may be commanded until it does: a controller that
    has moved it, or one that takes over from that, must not be sent back to where it was held.

    Args:
        layout: Says which values are velocities: none stays commanded.
        schedule: Learns where the commands rest: the next chunk continues from there.
        measured: Tells whether somebody has moved the robot.
        state: The phase of the motion.
        is_silent: Nothing is published at rest, so that there is nothing to hold a moved robot by.
    """

    def __init__(
        self,
        layout: ActionLayout,
        schedule: ChunkSchedule,
        measured: MeasuredState,
        state: MotionState,
        *,
        is_silent: bool,
    ) -> None:
        self._layout = layout
        self._schedule = schedule
        self._measured = measured
        self._state = state
        self._is_silent = is_silent
        self._is_moved = False
        self._left: Row | None = None  # the command from which the robot was moved

    @property
    def is_moved(self) -> bool:
        """Whether the robot was moved while it was stopped, and is not held elsewhere yet."""
        return self._is_moved

    def start(self, entry: Row, output: CommandOutput | None) -> Row:
        """Where motion begins from rest: where the robot is measured, float64 (size,).

        A joint that is not measured is where it was commanded to, and before its first command
        where the chunk begins. The last command itself is returned where nobody moved the robot.

        Args:
            entry: Where the chunk begins, float64 (size,).
            output: Where the commands rest; None before the first.
        """
        if output is not None and not (self._is_silent or self._is_moved):
            # The held position is still commanded: the commands move from there to the robot.
            return self._measured.displaced(output.last)
        start = self._measured.over(entry if output is None else output.last)
        start[self._layout.is_velocity] = 0.0
        return start

    def moved_start(self, start: Row) -> Row:
        """Where the robot is if somebody has moved it away from its start, else the start itself.

        Args:
            start: Where the first command is to be, float64 (size,).
        """
        here = self._measured.over(start)
        has_moved = np.abs(self._layout.offset(here, start)).max() > MOVED
        return here if has_moved else start

    def place_beside(self, held: Row) -> Row:
        """Where a robot stands still that is told its commands again, float64 (size,).

        They have come near to it without being sent. A joint that nobody has moved stays held where
        it was: a gripper would lose what it holds. `held` where the robot is further off: it is
        held there against its own weight, and would sag from each new place.

        Args:
            held: The commands, float64 (size,).
        """
        here = np.where(self._moved_values(held), self._measured.over(held), held)
        here[self._layout.is_velocity] = 0.0
        is_beside = np.abs(self._layout.offset(here, held)).max() <= MOVED
        return here if is_beside and self._state.phase is MotionPhase.RESTING else held

    def tick(
        self, output: CommandOutput, now_ns: int, *, is_measured: bool, is_under_way: bool
    ) -> Row:
        """The command of one tick of settling, braking or rest, float64 (size,).

        Args:
            output: Makes the command, inside the limits.
            now_ns: Playback time of the tick, ns.
            is_measured: Whether the measurements are of this time. Old ones do not tell whether
                somebody has moved the robot since: it may have got there by itself, as it braked.
            is_under_way: Whether the robot is still on its way to rest: it is not yielded to then.
        """
        path = self._schedule.path(now_ns)
        target = np.array(output.last if path is None else path)
        target[self._layout.is_velocity] = 0.0
        if self._state.phase in (MotionPhase.RESTING, MotionPhase.YIELDING):
            may_yield = is_measured and not is_under_way
            return self._stay(output, target, now_ns, is_measured=is_measured, may_yield=may_yield)
        self._is_moved = False
        if self._state.phase is MotionPhase.SETTLING:
            return self._settle(output, target, now_ns)
        return self._brake(output, target, now_ns)

    def _settle(self, output: CommandOutput, target: Row, now_ns: int) -> Row:
        """Go to the last step of the chunk that has ended."""
        command = output.settle(target, now_ns)
        if output.is_at_rest and output.is_at_target:
            self._state.rest()
            self._schedule.rest(now_ns, command)
        return command

    def _brake(self, output: CommandOutput, target: Row, now_ns: int) -> Row:
        """Come to rest on the fastest way, wherever that is."""
        command = output.brake(target, now_ns)
        if output.is_at_rest:
            self._state.rest()
        self._schedule.rest(now_ns, command)
        return command

    def _stay(
        self,
        output: CommandOutput,
        target: Row,
        now_ns: int,
        *,
        is_measured: bool,
        may_yield: bool,
    ) -> Row:
        """Stay, or go to where somebody has moved the robot."""
        held = target
        if self._is_moved and self._state.phase is MotionPhase.YIELDING and is_measured:
            held = self._place_moved_on_to(held)
            self._rest_if_there(output, held, now_ns)
        elif output.is_at_rest:
            self._state.rest()
        if self._state.phase is MotionPhase.RESTING and is_measured:
            self._measured.rest(held, now_ns)
            held = self._place_to_yield_to(held) if may_yield else held
        command = output.yield_to(held, now_ns)
        is_yielding = self._state.phase is MotionPhase.YIELDING
        self._schedule.rest(now_ns, held if is_yielding else command)
        return command

    def _place_moved_on_to(self, held: Row) -> Row:
        """Where the robot has got to since the commands set out for it; `held` where it stayed."""
        place = self._measured.moved_on(held)
        if place is not held:
            self._yield()
        return place

    def _rest_if_there(self, output: CommandOutput, held: Row, now_ns: int) -> None:
        """Rest where the robot stands still, once the commands have got there."""
        is_still = self._measured.stands_still(now_ns)
        is_there = np.abs(self._layout.offset(output.last, held)).max() < STILL
        if is_still and is_there and output.is_at_rest:
            self._measured.start_yielding()
            self._state.rest()

    def _place_to_yield_to(self, held: Row) -> Row:
        """Where somebody has moved the robot and it stands still; `held` where nobody has."""
        if self._is_silent:
            return held
        place = self._measured.displaced(held)
        may_yield = self._state.is_inhibited or self._is_moved
        is_leaving = self._state.is_inhibited and self._measured.has_left_rest(held)
        was_moved = self._is_moved
        self._is_moved = place is not held and (was_moved or is_leaving)
        if self._is_moved and not was_moved:
            self._left = np.array(held)
        if place is held or not (may_yield and self._measured.is_still):
            return held
        self._yield()
        return place

    def _moved_values(self, held: Row) -> Row:
        """Which values somebody has moved, bool (size,): all of a pose, or none."""
        if self._left is None:
            return np.ones(self._layout.size, dtype=bool)
        has_moved = np.abs(self._layout.offset(held, self._left)) > STILL
        for key in self._layout.poses:
            part = self._layout.slices[key]
            has_moved[part] = has_moved[part].any()
        return np.asarray(has_moved)

    def _yield(self) -> None:
        self._measured.start_yielding()
        self._state.start_yielding()
