# SPDX-License-Identifier: Apache-2.0
"""An arm that takes whole trajectories, beside a gripper and a base that are streamed."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.trajectory import Forecast

PERIOD_S = 0.01
PERIOD_NS = 10_000_000
START_NS = 10**12
LIMITS = JointLimits(-3.0, 3.0, 3.0, 25.0, 500.0)
BASE = BodyLimits(1.0, 2.0, 1.0, 2.0)


class Robot:
    """Ticked by hand; trajectories are sent in no time, and the robot follows."""

    def __init__(self) -> None:
        layout = ActionLayout({"arm": 1, "gripper": 1, "base": 6}, velocities=["base"])
        self.settings = PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(cubic=True),
            limits={0: LIMITS, 1: LIMITS},
            bodies={"base": BASE},
        )
        self.player = LookAheadPlayer(
            MotionPlayer(layout, self.settings),
            layout,
            period_s=PERIOD_S,
            lead_s=0.1,
            forecast_keys=("arm",),
        )
        self.now_ns = START_NS
        self.commands: list[Command] = []

    def offer(self, number: int = 1, *, speed: float = 0.5, start: float = 0.0) -> None:
        climb = start + speed * 0.05 * np.arange(40)[:, None]
        base = np.zeros((40, 6))
        base[:, 0] = speed
        actions = {"arm": climb, "gripper": climb, "base": base}
        self.player.offer(Chunk(number, self.now_ns, 0.05, actions), self.now_ns)

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.now_ns += PERIOD_NS
            command = self.player.tick(self.now_ns)
            forecast = self.player.take_forecast()
            if forecast is not None:
                trajectory = forecast.run()
                assert trajectory is not None
                self.player.finish_forecast(forecast, trajectory)
            if command is not None:
                self.commands.append(command)

    def tick_unsent(self, ticks: int) -> Forecast:
        """Tick while the first trajectory is planned; returns its forecast."""
        forecasts = []
        for _ in range(ticks):
            self.now_ns += PERIOD_NS
            command = self.player.tick(self.now_ns)
            if command is not None:
                self.commands.append(command)
            forecasts.append(self.player.take_forecast())
        [forecast] = [one for one in forecasts if one is not None]
        return forecast

    def stall(self, ticks: int) -> None:
        self.now_ns += ticks * PERIOD_NS

    def streamed(self) -> tuple[np.ndarray, np.ndarray]:
        """Each command of the gripper, rad, and of the base along x, m/s."""
        gripper = np.array([command.values["gripper"][0] for command in self.commands])
        return gripper, np.array([command.values["base"][0] for command in self.commands])
