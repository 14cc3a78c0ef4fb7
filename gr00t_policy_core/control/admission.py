# SPDX-License-Identifier: Apache-2.0
"""Decides whether a chunk may move the robot, and where the motion would begin."""

from __future__ import annotations

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.chunk_checks import (
    require_in_range,
    require_near,
    require_recent,
    require_sane,
)
from gr00t_policy_core.control.command_output import CommandOutput
from gr00t_policy_core.control.motion_state import MotionState
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.rest_keeper import RestKeeper
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.stop_conditions import StopConditions


class ChunkAdmission:
    """Checks chunks whole, before any of them moves a robot.

    Args:
        layout: Says where the joints and poses lie in the vectors.
        schedule: Plans how a chunk would be played, and refuses what it cannot play.
        conditions: Say whether motion is inhibited.
        state: Tells whether the robot moves.
        rest: Tells where motion begins from rest.
    """

    def __init__(
        self,
        layout: ActionLayout,
        schedule: ChunkSchedule,
        conditions: StopConditions,
        state: MotionState,
        rest: RestKeeper,
    ) -> None:
        self._layout = layout
        self._schedule = schedule
        self._conditions = conditions
        self._state = state
        self._rest = rest

    def require_permission(self, chunk: Chunk, settings: PlayerSettings, now_ns: int) -> None:
        """Check that the robot may move, given the age of the chunk's observation.

        Raises:
            ChunkRefusedError: Motion is inhibited, or the observation is too old or from the
                future.
        """
        inhibited = self._conditions.why_inhibited(now_ns)
        if inhibited:
            raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {inhibited}")
        require_recent(chunk, now_ns, settings.observation_age)

    def plan(
        self, chunk: Chunk, settings: PlayerSettings, output: CommandOutput | None, at_ns: int
    ) -> tuple[ActiveChunk, Row]:
        """Plan how to play a chunk from now on, and where the commands would begin.

        Args:
            chunk: Finite numbers of one horizon; everything else about it is checked here.
            settings: The limits in force, and how far a chunk may jump.
            output: The last commands; None before the first.
            at_ns: Playback time at which it would take over, ns.

        Returns:
            The planned chunk, and float64 (size,): the last command in motion, the measured place
            at rest.

        Raises:
            ChunkRefusedError: The schedule refuses it, it asks for what no robot can do, a joint is
                outside its range, a tip or a pose outside its workspace, or the chunk begins too
                far from where the robot is.
        """
        if output is None:
            # Nothing was commanded yet: the robot is where the observation saw it.
            self._schedule.assume_at_rest(0)
        planned = self._schedule.plan(chunk, at_ns)
        require_sane(chunk, planned.rows, self._layout)
        entry = self._schedule.entry(planned, at_ns)
        if output is not None and self._state.is_moving:
            start = output.last
        else:
            start = self._rest.start(entry, output)
            require_in_range(chunk, start, self._layout, settings)
        require_near(chunk, entry, start, self._layout, settings)
        return planned, start
