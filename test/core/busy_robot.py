# SPDX-License-Identifier: Apache-2.0
"""A robot whose control loop stalls and whose forecasts come late, in virtual time.

Its joint_trajectory_controller is ours, and plays what it is sent.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from dataclasses import dataclass

import numpy as np

from bench.trajectory_controller import Point, TrajectoryController
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.trajectory import Forecast, Trajectory

MS, START_NS = 1_000_000, 10**12
PERIOD_S, LEAD_S, STOP_LEAD_S = 0.01, 0.1, 0.02
LIMITS = JointLimits(-3.0, 3.0, 3.0, 25.0, 500.0)


def braking_way(speed: float) -> float:
    """How far a joint goes before it rests, rad, by its limits of acceleration and jerk."""
    if speed <= LIMITS.acceleration**2 / LIMITS.jerk:
        return speed * float(np.sqrt(speed / LIMITS.jerk))
    by_jerk_s = LIMITS.acceleration / LIMITS.jerk
    return speed / 2 * (speed / LIMITS.acceleration + by_jerk_s)


@dataclass(frozen=True, slots=True)
class Sent:
    """A trajectory, when it was sent, and whether that was late."""

    at_ms: int
    trajectory: Trajectory
    is_late: bool


class BusyRobot:
    """A robot of one joint, its controller, and the control node before it, in steps of 1 ms.

    Attributes:
        stalls: How likely it is that the control loop stalls after a tick.
        stall_ms: For how long then, from and to.
        forecast_ms: How long a forecast takes, from and to.
        is_measured: Whether the control node hears where the robot is.
        blocked_at: Where the robot is stuck; None where it follows its controller.
        path: What the controller has commanded, every millisecond.
        sent: What it was sent.

    Args:
        seed: Of how long forecasts take, and of the stalls.
        settings: Of the player, beside its own.
    """

    def __init__(self, seed: int, **settings: object) -> None:
        self._random = random.Random(seed)
        self.stalls, self.stall_ms, self.forecast_ms = 0.0, (20, 400), (5, 10)
        layout = ActionLayout({"arm": 1})
        common: dict[str, object] = {
            "limits": {0: LIMITS},
            "max_joint_ages_s": {0: 5.0},
            "steering_timeout_s": 2.0,
        }
        all_settings = PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(cubic=True),
            **{**common, **settings},
        )
        self.is_measured = True
        self.blocked_at: float | None = None
        self.player = LookAheadPlayer(
            MotionPlayer(layout, all_settings),
            layout,
            period_s=PERIOD_S,
            lead_s=LEAD_S,
            forecast_keys=("arm",),
        )
        self._controller = TrajectoryController(np.zeros(1))
        self._on_the_way: deque[tuple[int, Trajectory]] = deque()
        self._forecast: tuple[int, Forecast] | None = None  # when it is ready, and which
        self._tick_due_ms = self.stalled_until_ms = 0
        self.ms = 0
        self.path: list[float] = []
        self.sent: list[Sent] = []

    @property
    def now_ns(self) -> int:
        return START_NS + self.ms * MS

    @property
    def position(self) -> float:
        return self.path[-1]

    def offer_ramp(self) -> None:
        rows = 0.5 * 0.05 * np.arange(20)[:, None]
        with contextlib.suppress(ChunkRefusedError):
            self.player.offer(Chunk(1, self.now_ns, 0.05, {"arm": rows}), self.now_ns)

    def step(self) -> None:
        self.ms += 1
        while self._on_the_way and self._on_the_way[0][0] <= self.ms:
            self._receive(self._on_the_way.popleft()[1])
        command = self._controller.update(self.now_ns * 1e-9, self._controller.position)
        self.path.append(float(command[0]))
        if self.ms >= max(self._tick_due_ms, self.stalled_until_ms):
            self._tick()
        if self._forecast is not None and self.ms >= self._forecast[0]:
            self._finish(self._forecast[1])

    def _tick(self) -> None:
        self._tick_due_ms = (self.ms // 10 + 1) * 10
        if self._random.random() < self.stalls:
            self.stalled_until_ms = self.ms + self._random.randint(*self.stall_ms)
        if self.is_measured:
            measured = self.position if self.blocked_at is None else self.blocked_at
            self.player.measure({0: measured}, self.now_ns - 2 * MS)
        self.player.tick(self.now_ns)
        if self._forecast is None and (forecast := self.player.take_forecast()) is not None:
            self._forecast = (self.ms + self._random.randint(*self.forecast_ms), forecast)

    def _finish(self, forecast: Forecast) -> None:
        self._forecast = None
        trajectory = forecast.run()
        if trajectory is not None and self.player.awaits(forecast):
            if self.player.is_too_late(trajectory, self.now_ns):
                at_once = self.player.retry(forecast, self.now_ns)
                if at_once is not None:
                    self._send(at_once, is_late=True)
            else:
                self._send(trajectory, is_late=self.now_ns > forecast.departure_ns)
                self.player.finish_forecast(forecast, trajectory)

    def _send(self, trajectory: Trajectory, *, is_late: bool) -> None:
        self._on_the_way.append((self.ms, trajectory))
        self.sent.append(Sent(self.ms, trajectory, is_late))

    def _receive(self, trajectory: Trajectory) -> None:
        rows = zip(
            trajectory.rows, trajectory.velocities(), trajectory.accelerations(), strict=True
        )
        points = [Point(i * PERIOD_S, *row) for i, row in enumerate(rows)]
        now_s = self.now_ns * 1e-9
        assert not self._controller.receive(trajectory.start_ns * 1e-9, points, now_s)


def moving(seed: int = 0, **settings: object) -> BusyRobot:
    """A robot that plays a chunk, 0.5 rad/s fast, on a machine that is not busy yet."""
    robot = BusyRobot(seed, **settings)
    for _ in range(50):
        robot.step()
    robot.offer_ramp()
    for _ in range(500):
        robot.step()
    assert robot.position > 0.1
    return robot


def stall(robot: BusyRobot, stall_ms: int) -> None:
    """Have the control loop stall, up to its next tick."""
    robot.stalled_until_ms = robot.ms + stall_ms
    while robot.ms < robot.stalled_until_ms:
        robot.step()
