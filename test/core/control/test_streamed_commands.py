# SPDX-License-Identifier: Apache-2.0
"""A gripper and a base that are streamed beside an arm that takes whole trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from streamed_rig import BASE, LIMITS, PERIOD_S, Robot

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.commands_ahead import CommandsAhead
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.streamed_commands import StreamedCommands


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


class Gripper:
    """What is streamed to a gripper alone, while its path is told tick by tick."""

    def __init__(self) -> None:
        self.settings = PlayerSettings(period_s=PERIOD_S, limits={0: LIMITS})
        self._streamed = StreamedCommands(
            ActionLayout({"gripper": 1}), ["gripper"], period_s=PERIOD_S, is_silent=False
        )
        self._ahead = CommandsAhead(period_s=PERIOD_S, lead_s=PERIOD_S, silent_at_rest=False)
        self.measured = 0.0
        self.told: list[float] = []

    def follow(self, place: float, *, at_rest: bool = False, is_withheld: bool = False) -> None:
        values = {"gripper": np.array([place])}
        command = Command.holds(values, values, 1, at_rest=at_rest, is_withheld=is_withheld)
        self._ahead.append(command)
        told = self._streamed.follow(self._ahead, self.settings, {0: self.measured})
        if told is not None and not told.is_withheld:
            self.told.append(float(told.values["gripper"][0]))

    def stop_before_its_path(self) -> None:
        """The gripper comes to rest on the way, and nothing is told any more."""
        for tick in range(40):
            self.follow(0.005 * tick)
        for _ in range(60):
            self.follow(0.4, at_rest=True, is_withheld=True)
        assert self.told[-1] < 0.3


def test_what_is_told_again_goes_on_from_where_it_was_told_to_rest() -> None:
    gripper = Gripper()
    gripper.stop_before_its_path()
    gripper.measured = gripper.told[-1]
    for _ in range(100):
        gripper.follow(0.4, at_rest=True)
    require_within(np.array(gripper.told), LIMITS, PERIOD_S)
    assert gripper.told[-1] == pytest.approx(0.4)


def test_what_somebody_has_moved_meanwhile_goes_on_from_where_it_is() -> None:
    gripper = Gripper()
    gripper.stop_before_its_path()
    gripper.measured, count = 0.401, len(gripper.told)
    gripper.follow(0.4, at_rest=True)
    assert gripper.told[count:] == []  # what was ahead before
    gripper.follow(0.4, at_rest=True)
    assert gripper.told[count:] == [0.4]
