# SPDX-License-Identifier: Apache-2.0
"""From the messages of the chunk topic to chunks that are offered to the player. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.binary_grips import BinaryGrips
from gr00t_ros.control.chunk_reader import read_chunk
from gr00t_ros.control.chunk_source import ChunkSource
from gr00t_ros.control.chunk_warnings import unit_warning
from gr00t_ros.control.current_motion import CurrentMotion
from gr00t_ros.control.motion_setup import Player, make_layout
from gr00t_ros.control.robot_state import RobotState
from gr00t_ros.msg import ActionChunk


class ChunkIntake:
    """Admits one source, reads its chunks, and offers them to the player; counts what it rejects.

    Args:
        contract: Names the actions of a chunk.
        robot: Makes the player at the first chunk.
        motion: Its player gets the chunks.
        run: The run of the control node; chunks that name another one are rejected.
    """

    def __init__(
        self, contract: Contract, robot: RobotState, motion: CurrentMotion, run: str
    ) -> None:
        self._contract = contract
        self._robot = robot
        self._motion = motion
        self._run = run
        self._source = ChunkSource()
        self._grips = BinaryGrips(contract)
        self._rejected = 0  # chunks that were rejected before a player existed
        self._why_not = ""
        self._warning = ""

    @property
    def source(self) -> str:
        """The run of the policy node whose chunks are played; empty before the first chunk."""
        return self._source.name

    @property
    def refusal(self) -> str:
        """Why the newest chunk was rejected; empty if it was accepted."""
        player = self._motion.player
        return player.refusal if player is not None else self._why_not

    @property
    def warning(self) -> str:
        """The suspected fault in the units or the rate of the newest chunk; empty if none."""
        return self._warning

    @property
    def rejected(self) -> int:
        """Chunks that were rejected, before and by the player."""
        player = self._motion.player
        return self._rejected + (player.counts.refused if player is not None else 0)

    def offer(self, message: ActionChunk, now_ns: int) -> None:
        """Offer the chunk of a message to the player; the caller holds the motion's lock.

        Raises:
            ChunkRefusedError: The chunk must not move the robot; the current motion continues.
        """
        try:
            chunk, player = self._read(message)
        except ChunkRefusedError as error:
            self._reject(str(error))
            raise
        player.inhibit(self._motion.why_inhibited())
        # One that only opens and closes jumps between its two positions.
        smooth = [limits for limits in self._robot.limits() if limits.key not in self._grips.keys]
        self._warning = unit_warning(chunk, smooth)
        try:
            self._play(player, chunk, now_ns)
        except ChunkRefusedError as error:
            if not self._warning:
                raise
            explained = f"{error} ({self._warning})"
            player.explain_refusal(explained)
            raise ChunkRefusedError(explained) from error

    def forget_chunks(self) -> None:
        """Forget what the chunks so far have opened and closed, and what was wrong with them."""
        self._grips = BinaryGrips(self._contract)
        self._why_not = self._warning = ""

    def end_activation(self) -> None:
        """Forget the chunks, their source and their count."""
        self.forget_chunks()
        self._source = ChunkSource()
        self._rejected = 0

    def _read(self, message: ActionChunk) -> tuple[Chunk, Player]:
        if message.control_source not in ("", self._run):
            raise ChunkRefusedError(
                f"the chunk is for {message.control_source}, which was started again since; "
                "~/start of the policy node goes on"
            )
        command = self._motion.command
        is_played = command is not None and not command.holding
        self._source.require_admitted(message.source, is_played=is_played)
        chunk = read_chunk(self._contract, message)
        self._source.admit(message.source)
        player = self._motion.player
        if player is None:
            sizes = {key: rows.shape[1] for key, rows in chunk.actions.items()}
            player = self._robot.begin_motion(make_layout(self._contract, sizes))
        return chunk, player

    def _play(self, player: Player, chunk: Chunk, now_ns: int) -> None:
        grips = self._grips.plan(chunk, now_ns, self._robot.joints.positions)
        player.offer(self._grips.steps(chunk, grips), now_ns)
        self._grips.keep(grips)

    def _reject(self, reason: str) -> None:
        player = self._motion.player
        if player is not None:
            player.refuse(reason)
        else:
            self._rejected += 1
            self._why_not = reason
