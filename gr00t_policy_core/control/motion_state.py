# SPDX-License-Identifier: Apache-2.0
"""The phase of a player's motion and its reasons to hold; no other module keeps either."""

from __future__ import annotations

from enum import Enum

from gr00t_policy_core.control.command import PlayerCounts


class MotionPhase(Enum):
    """What the commands do at present."""

    STARTING = "starting"
    """A chunk was accepted; the first command, where the robot is measured, is still to come."""

    FOLLOWING = "following"
    """The commands follow the path of the chunks."""

    SETTLING = "settling"
    """The chunk has ended, and the commands go to its last step."""

    BRAKING = "braking"
    """The commands come to rest as fast as the limits allow."""

    RESTING = "resting"
    """The commands stand still, or nothing was commanded yet."""

    YIELDING = "yielding"
    """Motion is inhibited, and the commands go to where somebody has moved the robot."""


class MotionState:
    """The phase of the motion, and every reason for which it holds.

    ::

        RESTING, YIELDING --accept--> STARTING --first command--> FOLLOWING
        FOLLOWING --the chunk ends--> SETTLING --> RESTING <--> YIELDING
        FOLLOWING, SETTLING --hold--> BRAKING --> RESTING
        SETTLING, BRAKING --accept--> FOLLOWING

    Args:
        counts: Its `holds` are counted here.
    """

    def __init__(self, counts: PlayerCounts) -> None:
        self._counts = counts
        self._phase = MotionPhase.RESTING
        self._inhibit_reason = ""
        self._hold_reason = ""
        self._fault = ""
        self._is_fault_seen = False
        self._refusal = ""

    @property
    def phase(self) -> MotionPhase:
        """What the commands do at present."""
        return self._phase

    @property
    def is_moving(self) -> bool:
        """Whether the commands move: they follow a path, or have not come to rest yet."""
        return self._phase not in (MotionPhase.RESTING, MotionPhase.YIELDING)

    @property
    def inhibit_reason(self) -> str:
        """Why the robot was not allowed to move at the last tick; empty if it was."""
        return self._inhibit_reason

    @property
    def is_inhibited(self) -> bool:
        """Whether motion was inhibited at the last tick, or a fault has stopped it."""
        return bool(self._inhibit_reason or self._fault)

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person; empty once it is cleared."""
        return self._fault

    @property
    def is_fault_seen(self) -> bool:
        """Whether motion was inhibited and allowed again since the fault."""
        return self._is_fault_seen

    @property
    def refusal(self) -> str:
        """Why the newest chunk was refused; empty where it was accepted."""
        return self._refusal

    def why_nothing_was_commanded(self) -> str:
        """Say why there was no command yet at the last tick."""
        return self._inhibit_reason or self._refusal or "no chunk received yet"

    def why_it_holds(self, chunk_id: int) -> str:
        """Say why no chunk was played at the last tick.

        Args:
            chunk_id: The chunk that was played last.
        """
        held = (
            self._inhibit_reason or self._hold_reason or f"chunk {chunk_id} ended and no other came"
        )
        refusal = self._refusal
        return held if not refusal or held in refusal else f"{held}; refused since: {refusal}"

    def refuse(self, reason: str) -> None:
        """Remember why a chunk was refused, until the next one is accepted."""
        self._refusal = reason

    def accept(self, *, is_placed: bool) -> None:
        """Follow a chunk, and clear every reason to hold.

        Args:
            is_placed: Whether the first command has to be the measured position of the robot.
        """
        is_starting = is_placed or self._phase is MotionPhase.STARTING
        self._phase = MotionPhase.STARTING if is_starting else MotionPhase.FOLLOWING
        self._refusal = self._hold_reason = self._fault = ""

    def follow(self) -> None:
        """Note that a command of the path is sent."""
        self._phase = MotionPhase.FOLLOWING

    def inhibit(self, reason: str) -> None:
        """Set why the robot may not move at this tick; empty if it may."""
        if self._inhibit_reason and not reason:
            self._is_fault_seen = bool(self._fault)
        self._inhibit_reason = reason

    def hold(self, reason: str) -> None:
        """Come to rest. Before the first command nothing moves yet."""
        self._hold_reason = reason
        self._counts.holds += self._phase is MotionPhase.FOLLOWING
        if self._phase in (MotionPhase.FOLLOWING, MotionPhase.SETTLING):
            self._phase = MotionPhase.BRAKING

    def brake(self) -> None:
        """Note that the commands come to rest, whatever they did before."""
        self._phase = MotionPhase.BRAKING

    def fail(self, fault: str) -> None:
        """Keep a fault that needs a person, until it is cleared or a chunk is played again."""
        self._fault = fault
        self._is_fault_seen = False

    def clear_fault(self) -> None:
        """Note that the cause of the fault is gone."""
        self._fault = ""
        self._is_fault_seen = False

    def leave_path(self) -> None:
        """Note that no chunk is played at this tick: settle if one has ended."""
        if self._phase not in (MotionPhase.STARTING, MotionPhase.FOLLOWING):
            return
        self._counts.holds += 1
        # With a reason, the motion was broken off before its first command.
        self._phase = MotionPhase.RESTING if self._hold_reason else MotionPhase.SETTLING

    def rest(self) -> None:
        """Note that the commands have come to a standstill."""
        self._phase = MotionPhase.RESTING

    def start_yielding(self) -> None:
        """Follow the robot to where somebody has moved it."""
        self._phase = MotionPhase.YIELDING
