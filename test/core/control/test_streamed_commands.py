# SPDX-License-Identifier: Apache-2.0
"""A gripper and a base that are streamed beside an arm that takes whole trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within

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

    def offer(self, number: int = 1, *, speed: float = 0.5) -> None:
        climb = speed * 0.05 * np.arange(40)[:, None]
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


def moving() -> Robot:
    robot = Robot()
    robot.tick(3)
    robot.offer()
    robot.tick(60)
    return robot


def test_without_missed_ticks_streamed_commands_are_those_of_the_path_to_the_bit() -> None:
    robot = moving()
    robot.offer(2, speed=0.4)
    for _ in range(300):
        robot.tick()
        present = robot.player._ahead.commands.present
        assert present is not None
        assert np.array_equal(robot.commands[-1].vector, present.vector)
    assert robot.player.is_at_rest


@pytest.mark.parametrize("ticks", [1, 3, 15, 40, 90, 500])
def test_what_is_streamed_catches_up_within_its_limits_after_missed_ticks(ticks: int) -> None:
    robot = moving()
    robot.stall(ticks)
    robot.tick(300)
    gripper, base = robot.streamed()
    require_within(gripper, LIMITS, PERIOD_S)
    assert np.abs(np.diff(base)).max() <= BASE.linear_acceleration * PERIOD_S + 1e-9
    last = robot.commands[-1]
    assert last.at_rest
    assert last.values["gripper"] == pytest.approx(last.values["arm"], abs=1e-6)
    assert not base[-1]


@pytest.mark.parametrize("ticks", [3, 40])
def test_a_robot_is_not_at_rest_while_what_is_streamed_catches_up(ticks: int) -> None:
    robot = moving()
    robot.player.hold(robot.now_ns, "enough")
    robot.stall(ticks)
    while not robot.player.is_at_rest:
        robot.tick()
    gripper, base = robot.streamed()
    require_within(gripper, LIMITS, PERIOD_S)
    assert gripper[-1] == pytest.approx(robot.commands[-1].values["arm"][0], abs=1e-6)
    assert not base[-1]


@pytest.mark.parametrize("ticks", [45, 80])
def test_what_is_streamed_comes_to_rest_where_a_stop_undoes_the_first_chunk(ticks: int) -> None:
    """Its trajectory was never sent; a base would drive on at its last velocity."""
    robot = Robot()
    robot.tick(3)
    robot.offer()
    late = robot.tick_unsent(ticks)
    assert robot.streamed()[1][-1] > 0.05
    robot.player.inhibit("enough")
    robot.player.retry(late, robot.now_ns)
    robot.tick()
    assert not robot.player.is_at_rest
    robot.tick(200)
    assert robot.player.is_at_rest
    gripper, base = robot.streamed()
    require_within(gripper, LIMITS, PERIOD_S)
    assert np.abs(np.diff(base)).max() <= BASE.linear_acceleration * PERIOD_S + 1e-9
    assert not base[-1]
    assert len(base) < 150  # then it is silent

    robot.player.inhibit("")
    moved = {0: 0.3, 1: 0.4}  # by hand
    robot.player.measure(moved, robot.now_ns)
    rows = np.full((40, 1), 0.4)
    actions = {"arm": rows - 0.1, "gripper": rows, "base": np.zeros((40, 6))}
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, actions), robot.now_ns)
    robot.commands.clear()
    robot.tick(20)
    assert robot.streamed()[0] == pytest.approx(0.4)


@pytest.mark.parametrize("ticks", [45, 80])
def test_what_is_streamed_brakes_where_the_first_trajectory_is_late_and_planned_again(
    ticks: int,
) -> None:
    robot = Robot()
    robot.tick(3)
    robot.offer()
    late = robot.tick_unsent(ticks)
    robot.player.retry(late, robot.now_ns)
    begun = len(robot.commands)
    robot.tick(4)
    assert len(robot.commands) == begun + 4
    assert robot.streamed()[1][-1] < robot.streamed()[1][begun - 1]
    robot.tick(450)
    gripper, base = robot.streamed()
    require_within(gripper, LIMITS, PERIOD_S)
    assert np.abs(np.diff(base)).max() <= BASE.linear_acceleration * PERIOD_S + 1e-9
    assert base[begun + 20 :].max() == pytest.approx(0.5, abs=1e-3)
    assert robot.commands[-1].at_rest
    assert not base[-1]


def test_other_limits_hold_for_what_is_streamed_from_the_next_rest_on() -> None:
    robot = moving()
    slow = JointLimits(-3.0, 3.0, 0.2, 25.0, 500.0)
    robot.player.change_limits({0: slow, 1: slow}, robot.now_ns)
    robot.tick(100)
    begun = len(robot.commands)
    at = float(robot.commands[-1].values["gripper"][0])
    rows = at + 0.5 * 0.05 * np.arange(40)[:, None]
    chunk = Chunk(2, robot.now_ns, 0.05, {"arm": rows, "gripper": rows, "base": np.zeros((40, 6))})
    robot.player.offer(chunk, robot.now_ns)
    robot.tick(50)
    robot.stall(30)
    robot.tick(200)
    gripper = robot.streamed()[0]
    require_within(gripper[begun:], slow, PERIOD_S)
