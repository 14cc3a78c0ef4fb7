# SPDX-License-Identifier: Apache-2.0
"""Two arms that are sent trajectories, a streamed gripper, and the player that looks ahead."""

from __future__ import annotations

import numpy as np
from look_ahead_rig import LIMITS, PERIOD_NS, START_NS

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.recording import RecordingPlayer
from gr00t_policy_core.control.stop_watch import MissedStop
from gr00t_policy_core.control.trajectory import Forecast, Trajectory

SQUEEZE = 0.04  # how far a gripper stays open on what it holds, rad
KEYS = ("left", "right", "grip")
LEFT, RIGHT, GRIP = range(3)


class Robot:
    """Two arms by trajectories and a streamed gripper, which holds something.

    Attributes:
        off: How far the left arm stays behind its trajectory, rad.
        held_at: Where somebody, or its controller by itself, holds a joint, rad, by its key.
        forecast_ticks: How many ticks a forecast takes.
        delay_ticks: How many ticks the arms follow their trajectories behind.
        deaf: To how many trajectories each controller is deaf from now on.
        arms: Where the arms are, rad.
        sent: What each controller was sent, and has taken.
        missed: The stops that were found to be missed.
        streamed: What the gripper was commanded.
    """

    def __init__(self, max_following_error: float = 0.0, *, silent_at_rest: bool = False) -> None:
        self.layout = ActionLayout(dict.fromkeys(KEYS, 1))
        self.settings = PlayerSettings(
            period_s=PERIOD_NS * 1e-9,
            limits=dict.fromkeys(range(3), LIMITS),
            silent_at_rest=silent_at_rest,
            max_jump=0.5,
            max_joint_ages_s=dict.fromkeys(range(3), 0.5),
            max_following_errors=(
                dict.fromkeys((LEFT, RIGHT), max_following_error) if max_following_error else {}
            ),
        )
        self.inner = RecordingPlayer(self.layout, self.settings)
        self.player = LookAheadPlayer(
            self.inner,
            self.layout,
            period_s=PERIOD_NS * 1e-9,
            lead_s=0.1,
            forecast_keys=("left", "right"),
            silent_at_rest=silent_at_rest,
        )
        self.ticks = 0
        self.arms = {"left": 0.0, "right": 0.0}
        self.finger = 0.0
        self.off = 0.0
        self.held_at: dict[str, float] = {}
        self.forecast_ticks = self.delay_ticks = 0
        self.deaf = {"left": 0, "right": 0}
        self._commanded: dict[str, list[float]] = {"left": [], "right": []}
        self._forecast: tuple[int, Forecast] | None = None  # the tick it is ready, and which
        self.sent: dict[str, list[Trajectory]] = {"left": [], "right": []}
        self.streamed: list[float] = []
        self.missed: list[MissedStop] = []

    @property
    def now_ns(self) -> int:
        return START_NS + self.ticks * PERIOD_NS

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.ticks += 1
            self._tick_once()

    def push(self, key: str, way: float) -> None:
        """Have somebody push a joint so far, rad, and hold it there."""
        self.held_at[key] = way + {**self.arms, "grip": self.finger}[key]

    def offer(self, number: int, speed: float = 0.5) -> None:
        climb = speed * 0.05 * np.arange(40)[:, None]
        rows = {"left": self.arms["left"] + climb, "right": self.arms["right"] + climb}
        rows["grip"] = np.full((40, 1), self.streamed[-1] if self.streamed else 0.0)
        self.player.offer(Chunk(number, self.now_ns, 0.05, rows), self.now_ns)

    def _tick_once(self) -> None:
        for key, trajectories in self.sent.items():
            if trajectories:
                index = self.layout.slices[key].start
                commanded = self._commanded[key]
                commanded.append(float(trajectories[-1].row_at(self.now_ns)[index]))
                self.arms[key] = commanded[-1 - min(self.delay_ticks, len(commanded) - 1)]
        self.arms["left"] -= self.off
        self.arms |= {key: self.held_at[key] for key in self.arms.keys() & self.held_at.keys()}
        places = *self.arms.values(), self.held_at.get("grip", self.finger)
        self.player.measure(dict(enumerate(places)), self.now_ns)
        command = self.player.tick(self.now_ns)
        if command is not None:
            self.streamed.append(float(command.values["grip"][0]))
            self.finger = self.streamed[-1] + SQUEEZE
        missed = self.player.take_missed_stop()
        if missed is not None:
            self.missed.append(missed)
            self._send(missed.trajectory)
        if self._forecast is None and (forecast := self.player.take_forecast()) is not None:
            self._forecast = self.ticks + self.forecast_ticks, forecast
        if self._forecast is not None and self.ticks >= self._forecast[0]:
            self._finish(self._forecast[1])

    def _finish(self, forecast: Forecast) -> None:
        self._forecast = None
        trajectory = forecast.run()
        if trajectory is None or not self.player.awaits(forecast):
            return
        if self.player.is_too_late(trajectory, self.now_ns):
            at_once = self.player.retry(forecast, self.now_ns)
            if at_once is not None:
                self._send(at_once)
        else:
            self.player.finish_forecast(forecast, trajectory)
            self._send(trajectory)

    def _send(self, trajectory: Trajectory) -> None:
        for key, trajectories in self.sent.items():
            if key not in trajectory.slices:
                continue
            if self.deaf[key]:
                self.deaf[key] -= 1
            else:
                trajectories.append(trajectory)


def about_to_move(max_following_error: float = 0.0) -> Robot:
    """A robot at rest that was sent a motion which it has not begun yet."""
    robot = Robot(max_following_error)
    robot.tick(3)
    robot.offer(1, speed=0.0)
    robot.tick(40)
    robot.player.hold(robot.now_ns, "enough")
    robot.tick(100)
    robot.offer(2)
    robot.tick(3)
    assert np.ptp(robot.sent["right"][-1].rows[:, RIGHT]) > 0.5
    return robot
