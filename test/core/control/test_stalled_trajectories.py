# SPDX-License-Identifier: Apache-2.0
"""Whole trajectories on a busy machine: a control loop that stalls, forecasts that come late.

In virtual time, with a joint_trajectory_controller of ours that plays what it is sent.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from limit_checks import require_within

from bench.trajectory_controller import Point, TrajectoryController
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import MAX_LATE_STEP, LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.steering import SteeringRefusedError
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
        stalls: How likely it is that the control loop stalls after a tick, for 20 to 400 ms.
        forecast_ms: How long a forecast takes, from and to.
        path: What the controller has commanded, every millisecond.
        sent: What it was sent.

    Args:
        seed: Of how long forecasts take, and of the stalls.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.stalls, self.forecast_ms = 0.0, (5, 10)
        layout = ActionLayout({"arm": 1})
        settings = PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(cubic=True),
            limits={0: LIMITS},
            max_joint_ages_s={0: 5.0},
            steering_timeout_s=2.0,
        )
        self.player = LookAheadPlayer(
            MotionPlayer(layout, settings),
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
            self.stalled_until_ms = self.ms + self._random.randint(20, 400)
        self.player.measure({0: self.position}, self.now_ns - 2 * MS)
        self.player.tick(self.now_ns)
        if self._forecast is None and (forecast := self.player.take_forecast()) is not None:
            self._forecast = (self.ms + self._random.randint(*self.forecast_ms), forecast)

    def _finish(self, forecast: Forecast) -> None:
        self._forecast = None
        trajectory = forecast.run()
        if trajectory is not None and self.player.awaits(forecast):
            if self.player.is_too_late(trajectory, self.now_ns):
                self.player.retry(forecast, self.now_ns)
            else:
                is_late = self.now_ns > forecast.departure_ns
                self._on_the_way.append((self.ms, trajectory))
                self.sent.append(Sent(self.ms, trajectory, is_late))
                self.player.finish_forecast(forecast, trajectory)

    def _receive(self, trajectory: Trajectory) -> None:
        rows = zip(
            trajectory.rows, trajectory.velocities(), trajectory.accelerations(), strict=True
        )
        points = [Point(i * PERIOD_S, *row) for i, row in enumerate(rows)]
        now_s = self.now_ns * 1e-9
        assert not self._controller.receive(trajectory.start_ns * 1e-9, points, now_s)


def moving(seed: int = 0) -> BusyRobot:
    """A robot that plays a chunk, 0.5 rad/s fast, on a machine that is not busy yet."""
    robot = BusyRobot(seed)
    for _ in range(50):
        robot.step()
    robot.offer_ramp()
    for _ in range(500):
        robot.step()
    assert robot.position > 0.1
    return robot


@pytest.mark.parametrize("how", ["hold", "inhibit", "inhibit in the tick", "change_limits"])
def test_a_stop_in_a_stall_of_the_control_loop_brakes_where_the_robot_is_by_then(how: str) -> None:
    """The controller goes on while the loop stalls: 0.3 s later the robot is 0.15 rad further."""
    robot = moving()
    robot.stalled_until_ms = robot.ms + 300
    for _ in range(299):
        robot.step()
    stopped_at = robot.position
    if how == "hold":
        robot.player.hold(robot.now_ns, "enough")
    elif how == "change_limits":
        robot.player.change_limits({0: LIMITS}, robot.now_ns)
    else:
        robot.player.inhibit("emergency stop")
        if how == "inhibit":
            with contextlib.suppress(ChunkRefusedError):
                robot.offer_ramp()
    for _ in range(500):
        robot.step()
    stop = robot.sent[-1]
    assert not stop.is_late
    require_within(stop.trajectory.rows[:, 0], LIMITS, PERIOD_S)
    steps = np.diff(robot.path[-800:])
    assert np.abs(steps).max() < 0.51e-3  # 0.5 rad/s
    way = 0.5 * (STOP_LEAD_S + 2 * PERIOD_S) + braking_way(0.5)
    assert stopped_at < robot.position < stopped_at + way


@pytest.mark.parametrize("seed", [11, 18, 30, 35])
def test_a_steered_robot_never_jumps_and_goes_beyond_the_person_only_to_brake(
    seed: int,
) -> None:
    """A late trajectory is planned again from where the robot is, and that hurries after them."""
    robot = moving(seed)
    robot.stalls, robot.forecast_ms = 0.01, (10, 110)
    target, due_ms, begun_ms = robot.position, 0, robot.ms
    while robot.ms < 3000 and robot.position > 0.01:
        robot.step()
        if robot.ms >= due_ms:
            due_ms = robot.ms + 20
            target = max(target - 0.004, 0.0)
            with contextlib.suppress(SteeringRefusedError):
                robot.player.steer(np.array([target]), robot.now_ns)
    assert np.abs(np.diff(robot.path[begun_ms:])).max() < MAX_LATE_STEP + 1e-3 * LIMITS.velocity
    let_go_ms, robot.stalls, robot.forecast_ms = robot.ms, 0.0, (5, 10)
    robot.player.hold(robot.now_ns, "the person let go")
    for _ in range(800):
        robot.step()
    assert np.abs(np.diff(robot.path[let_go_ms:])).max() < 1e-3 * LIMITS.velocity
    fastest = max(np.abs(one.trajectory.velocities()).max() for one in robot.sent)
    assert min(robot.path) > -braking_way(fastest)
    for one in robot.sent:
        require_within(one.trajectory.rows[:, 0], LIMITS, PERIOD_S)


def test_a_forecast_for_a_person_ends_where_the_robot_stands_not_at_the_timeout() -> None:
    robot = moving()
    for _ in range(10):
        robot.player.steer(np.array([robot.position]), robot.now_ns)
        for _ in range(20):
            robot.step()
    newest = robot.sent[-1].trajectory
    assert len(newest.rows) * PERIOD_S < LEAD_S + 0.6  # steering_timeout_s is 2.0
    sent = len(robot.sent)
    for _ in range(3000):
        robot.step()
    assert "no teleoperation command came" in robot.player.reason
    assert len(robot.sent) == sent
    assert robot.position == newest.rows[-1, 0]


@pytest.mark.parametrize("how", ["hold", "inhibit", "change_limits"])
@pytest.mark.parametrize("forecast_ms", [45, 80, 125])
def test_a_stop_whose_way_to_rest_comes_late_brakes_from_where_the_robot_is_by_then(
    forecast_ms: int, how: str
) -> None:
    robot = moving()
    robot.forecast_ms = (forecast_ms, forecast_ms)
    stopped_at = robot.position
    if how == "hold":
        robot.player.hold(robot.now_ns, "enough")
    elif how == "inhibit":
        robot.player.inhibit("emergency stop")
    else:
        robot.player.change_limits({0: LIMITS}, robot.now_ns)
    for _ in range(20):  # the first forecast is slow
        robot.step()
    robot.forecast_ms = (5, 10)
    for _ in range(500):
        robot.step()
    steps = np.diff(robot.path[-520:])
    assert np.abs(steps).max() < 0.51e-3  # 0.5 rad/s
    assert steps.min() > -1e-5  # it never goes back, but for what its splines ring
    for one in robot.sent:
        require_within(one.trajectory.rows[:, 0], LIMITS, PERIOD_S)
    slow_s = forecast_ms * 1e-3
    goes_on_s = slow_s + min(slow_s + 2 * STOP_LEAD_S, LEAD_S) + 3 * PERIOD_S
    assert robot.position < stopped_at + 0.5 * goes_on_s + braking_way(0.5)
    assert robot.player.reason


def test_a_second_stop_before_the_first_is_sent_does_not_make_the_robot_jump() -> None:
    robot = moving()
    robot.forecast_ms = (60, 60)
    stopped_at = robot.position
    robot.player.hold(robot.now_ns, "stopped by the policy node")
    for _ in range(50):
        robot.step()
    robot.player.hold(robot.now_ns, "deactivated")
    robot.forecast_ms = (5, 5)
    begun_ms = robot.ms
    for _ in range(500):
        robot.step()
    assert np.abs(np.diff(robot.path[begun_ms - 60 :])).max() < 0.51e-3
    assert robot.player.reason == "deactivated"
    assert robot.position < stopped_at + 0.5 * (0.06 + STOP_LEAD_S + 0.02) + braking_way(0.5)


def test_new_limits_count_even_if_another_stop_comes_before_their_own_is_sent() -> None:
    robot = moving()
    robot.forecast_ms = (60, 60)
    slow = JointLimits(-3.0, 3.0, 0.2, 2.0, 50.0)
    robot.player.change_limits({0: slow}, robot.now_ns)
    for _ in range(50):
        robot.step()
    robot.player.hold(robot.now_ns, "enough")
    for _ in range(1000):
        robot.step()
    assert robot.player.player.braking_s == 0.0
    begun_ms, start = robot.ms, robot.position
    rows = start + 0.5 * 0.05 * np.arange(20)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": rows}), robot.now_ns)
    for _ in range(1500):
        robot.step()
    speeds = np.diff(robot.path[begun_ms:]) * 1e3
    assert 0.1 < speeds.max() < 0.21


def test_a_stop_that_is_allowed_again_before_it_is_sent_still_stops_the_robot() -> None:
    robot = moving()
    robot.forecast_ms = (125, 125)
    stopped_at = robot.position
    robot.player.inhibit("emergency stop")
    for _ in range(50):
        robot.step()
    robot.player.inhibit("")
    for _ in range(100):
        robot.step()
    robot.forecast_ms = (5, 10)
    for _ in range(500):
        robot.step()
    assert np.abs(np.diff(robot.path[-650:])).max() < 0.51e-3
    assert robot.position < stopped_at + 0.5 * 0.36 + braking_way(0.5)


@pytest.mark.parametrize("seed", range(8))
def test_a_robot_that_is_stopped_at_random_on_a_busy_machine_never_jumps(seed: int) -> None:
    robot = moving(seed)
    chance = random.Random(seed)
    robot.stalls, robot.forecast_ms = 0.01, (10, 130)
    begun_ms = robot.ms
    for _ in range(3000):
        robot.step()
        if chance.random() < 0.01:
            robot.player.hold(robot.now_ns, "enough")
        if chance.random() < 0.01:
            robot.player.inhibit(chance.choice(["", "emergency stop"]))
        if chance.random() < 0.02:
            ahead = robot.position + 0.5 * 0.05 * np.arange(20)[:, None]
            with contextlib.suppress(ChunkRefusedError):
                chunk = Chunk(robot.ms, robot.now_ns, 0.05, {"arm": ahead})
                robot.player.offer(chunk, robot.now_ns)
    assert np.abs(np.diff(robot.path[begun_ms:])).max() < MAX_LATE_STEP + 1e-3 * LIMITS.velocity
