# SPDX-License-Identifier: Apache-2.0
"""The motion of the moment: its player, its newest command, and the failure that ends it. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_ros.control.motion_failure import MotionFailure
from gr00t_ros.control.motion_setup import Player

DEACTIVATED = "deactivated"


class CurrentMotion:
    """What the threads of the control node share: whoever calls a method holds `lock`.

    Args:
        gate: Says whether the robot must not move, and why.
        monotonic_ns: The clock of the gate, ns.
        is_shadow: Whether the commands are computed and reported, and must not be published.

    Attributes:
        lock: Held by every thread that changes the motion, or reads more than one attribute.
        is_ending: Whether the robot comes to rest at the end of an activation.
        player: Plays the chunks of an activation; None before the first chunk or target.
        command: The newest command; None before the first.
        failure: The first failure; nothing moves the robot again.
    """

    def __init__(
        self, gate: MotionGate, monotonic_ns: Callable[[], int], *, is_shadow: bool
    ) -> None:
        self._gate = gate
        self._monotonic_ns = monotonic_ns
        self.lock = threading.Lock()
        self.is_shadow = is_shadow
        self.is_ending = False
        self.player: Player | None = None
        self.command: Command | None = None
        self.failure: MotionFailure | None = None

    @property
    def look_ahead_player(self) -> LookAheadPlayer | None:
        """The player, where whole trajectories are sent."""
        return self.player if isinstance(self.player, LookAheadPlayer) else None

    @property
    def player_fault(self) -> str:
        """The fault that stopped the player, or would stop it; empty if there is none."""
        return self.player.fault if self.player is not None else ""

    @property
    def is_at_rest(self) -> bool:
        """Whether the robot was told nothing yet, or to rest, and its controller the way there."""
        command, player, failure = self.command, self.look_ahead_player, self.failure
        if player is None or self.is_shadow:
            return command is None or command.at_rest
        if failure is None:
            return player.is_at_rest
        if command is None:
            return not failure.is_unsent
        return command.at_rest and (command.is_withheld or failure.is_sent)

    def why_inhibited(self) -> str:
        """Why the robot must not move; a shadow moves nothing, and is never inhibited."""
        if self.is_shadow:
            return ""
        return DEACTIVATED if self.is_ending else self._gate.reason(self._monotonic_ns())

    def forget(self) -> None:
        """Drop the player and its commands; a failure stays."""
        self.player = self.command = None
        self.is_ending = False

    def fail(self, what: str) -> None:
        """Come to rest and do not move again; call it where an exception is handled."""
        if self.failure is None:
            self.failure = MotionFailure(what, self.player)

    def tick(self, now_ns: int) -> None:
        """Compute the command of this tick, or brake if anything has failed. Never raises.

        Args:
            now_ns: The present, on the clock of the observation stamps, ns.
        """
        if self.failure is None:
            try:
                self.command = self._play(now_ns)
            except Exception:
                self.fail("the motion cannot be computed")
        if self.failure is not None:
            self.command = self._brake(self.failure, now_ns)

    def standstill(self) -> Command | None:
        """Return the last command with zero velocity; None if nothing has been commanded."""
        command, player = self.command, self.player
        if command is None or player is None or self.is_shadow:
            return None
        return _stopped(command, player.layout)

    def _play(self, now_ns: int) -> Command | None:
        player = self.player
        if player is None:
            return None
        player.inhibit(self.why_inhibited())
        had_fault = bool(player.fault)
        command = player.tick(now_ns)
        if player.fault and not had_fault and not self.is_shadow:
            self._gate.stop(f"{player.fault}; ~/start allows motion again")
        return command

    def _brake(self, failure: MotionFailure, now_ns: int) -> Command | None:
        """Return the next command on the way to rest, without the player."""
        command, player = self.command, self.player
        if command is None or player is None:
            return None
        try:
            return failure.next_command(command, player.layout, now_ns)
        except Exception:  # no velocity may stay commanded
            failure.give_up_brake()
            return _stopped(command, player.layout)


def _stopped(command: Command, layout: ActionLayout) -> Command:
    """The place of a command, with zero velocity."""
    vector = np.concatenate([command.values[key] for key in layout.dimensions])
    vector[layout.is_velocity] = 0.0
    return replace(command, values=layout.split(vector), holding=True, at_rest=True)
