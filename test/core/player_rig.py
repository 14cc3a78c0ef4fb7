# SPDX-License-Identifier: Apache-2.0
"""A player on a clock that only the test moves, and what it commands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from limit_checks import require_within

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.ramp import RAMP_SHARE
from gr00t_policy_core.control.schedule_settings import ScheduleSettings

T0_NS = 1_700_000_000_000_000_000
PERIOD_S, DT_S = 0.01, 0.05
LIMITS = JointLimits(-4.0, 4.0, 3.0, 25.0, 500.0)


def setting_out_s(speed: float) -> float:
    """What a ramp of that speed falls behind while it is set going, s: so gently that the
    acceleration and the jerk stay below a share of the limits."""
    acceleration, jerk = RAMP_SHARE * LIMITS.acceleration, RAMP_SHARE * LIMITS.jerk
    return 0.5 * max(1.5 * speed / acceleration, math.sqrt(6.0 * speed / jerk))


class Rig:
    """A player of two joints `arm` and a twist `base`, on a clock that only `run` moves.

    Args:
        blend: How one chunk goes over into the next.
        measured: The joints must be measured (`see`) before they are moved.
        settings: Laid over the settings of the player.
    """

    def __init__(
        self, *, blend: BlendMode = BlendMode.OFFSET_FADE, measured: bool = False, **settings: Any
    ) -> None:
        values: dict[str, Any] = {
            "limits": {0: LIMITS, 1: LIMITS},
            "max_joint_ages_s": {0: 0.5, 1: 0.5} if measured else {},
            **settings,
        }
        self.player = MotionPlayer(
            ActionLayout({"arm": 2, "base": 1}, velocities=["base"]),
            PlayerSettings(period_s=PERIOD_S, schedule=ScheduleSettings(blend), **values),
        )
        self.now_ns = T0_NS
        self.commands: list[Command] = []
        self.joints: tuple[float, float] | None = None
        self.told: tuple[float, float] | None = None  # the newest command that went out
        self.follows = False
        self.numbers = 0

    def see(self, *joints: float) -> None:
        """The joints are told at every tick from now on; no values: no longer."""
        self.joints = (joints[0], joints[1]) if joints else None
        self.follows = False
        self._measure()

    def follow(self, *joints: float) -> None:
        """The joints stand here, and do what they are told from now on."""
        self.see(*joints)
        self.follows = True

    def offer(
        self, start: float = 0.0, speed: float = 0.5, *, late_s: float = 0.0, horizon: int = 20
    ) -> None:
        """A chunk of a ramp whose observation is `late_s` old."""
        self.numbers += 1
        climb = start + speed * DT_S * np.arange(horizon)[:, None]
        actions = {"arm": np.hstack([climb, -climb]), "base": np.full((horizon, 1), speed)}
        t0_ns = self.now_ns - round(late_s * 1e9)
        self.player.offer(Chunk(self.numbers, t0_ns, DT_S, actions), self.now_ns)

    def run(self, seconds: float) -> list[Command | None]:
        """The commands of the ticks until then."""
        commands = []
        for _ in range(round(seconds / PERIOD_S)):
            self.now_ns += round(PERIOD_S * 1e9)
            self._measure()
            command = self.player.tick(self.now_ns)
            commands.append(command)
            if command is not None:
                self.commands.append(command)
                if not command.is_withheld:
                    self.told = tuple(command.values["arm"].tolist())
                    self.joints = self.told if self.follows else self.joints
        return commands

    def stall(self, seconds: float) -> None:
        """No tick for so long."""
        self.now_ns += round(seconds * 1e9)

    def _measure(self) -> None:
        if self.joints is not None:
            self.player.measure(dict(enumerate(self.joints)), self.now_ns)

    def path(self) -> np.ndarray:
        """Every command of the first joint so far, float64 (n,)."""
        return np.array([command.values["arm"][0] for command in self.commands])

    @property
    def last(self) -> Command:
        return self.commands[-1]

    @property
    def arm(self) -> float:
        return float(self.last.values["arm"][0])

    def require_smooth(self, *stood_at: float) -> None:
        """The commands so far keep the limits, from a standstill where that place is known."""
        for joint in (0, 1):
            before = [stood_at[joint]] * 3 if stood_at else []
            series = [command.values["arm"][joint] for command in self.commands]
            require_within(np.array(before + series), LIMITS, PERIOD_S)
