# SPDX-License-Identifier: Apache-2.0
"""A robot stands still where its measurements say so, not where there are none."""

from __future__ import annotations

import pytest

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.measured_state import MeasuredState

TICK_NS = 10_000_000
LAYOUT = ActionLayout({"arm": 2})


def arm(max_ages_s: dict[int, float]) -> MeasuredState:
    return MeasuredState(LAYOUT, max_ages_s, {})


@pytest.fixture
def robot() -> MeasuredState:
    """Both joints have to be measured."""
    return arm({0: 1.0, 1: 1.0})


def stills(robot: MeasuredState, positions: dict[int, float], ticks: range) -> list[bool]:
    """Whether it stands still at each tick, whose measurement comes just before it."""
    result = []
    for tick in ticks:
        robot.measure(positions, tick * TICK_NS)
        result.append(robot.stands_still(tick * TICK_NS))
    return result


def test_a_robot_that_is_measured_in_one_place_for_a_while_stands_still(
    robot: MeasuredState,
) -> None:
    assert stills(robot, {0: 0.1, 1: 0.2}, range(60)) == [tick >= 30 for tick in range(60)]
    assert not any(stills(robot, {0: 0.1, 1: 0.21}, range(60, 90)))
    assert all(stills(robot, {0: 0.1, 1: 0.21}, range(90, 120)))


def test_no_time_counts_while_nothing_is_measured(robot: MeasuredState) -> None:
    robot.measure({0: 0.1, 1: 0.2}, 0)
    assert not any(robot.stands_still(tick * TICK_NS) for tick in range(80))
    assert not any(stills(robot, {0: 0.15, 1: 0.2}, range(80, 110)))  # it was moved meanwhile
    assert stills(robot, {0: 0.15, 1: 0.2}, range(110, 111)) == [True]


def test_a_joint_of_which_nothing_is_heard_keeps_the_others_from_standing_still(
    robot: MeasuredState,
) -> None:
    robot.measure({0: 0.1, 1: 0.2}, 0)
    assert not any(stills(robot, {0: 0.1}, range(80)))
    assert stills(robot, {1: 0.2}, range(80, 81)) == [True]


def test_a_joint_that_need_not_be_measured_is_not_waited_for() -> None:
    robot = arm({0: 1.0})
    robot.measure({1: 0.2}, 0)
    assert stills(robot, {0: 0.1}, range(31))[-1]


def test_a_robot_that_nothing_measures_stands_still_after_a_while() -> None:
    robot = arm({})
    assert [robot.stands_still(tick * TICK_NS) for tick in range(60)] == [
        tick >= 30 for tick in range(60)
    ]


def test_a_robot_stands_still_though_the_clock_was_set_back(robot: MeasuredState) -> None:
    stills(robot, {0: 0.1, 1: 0.2}, range(1000, 1020))
    robot.restamp(0)
    assert stills(robot, {0: 0.1, 1: 0.2}, range(60)) == [tick >= 30 for tick in range(60)]
