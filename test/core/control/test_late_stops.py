# SPDX-License-Identifier: Apache-2.0
"""Stops of whole trajectories whose way to rest comes late, or is never planned in time."""

from __future__ import annotations

import numpy as np
import pytest
from busy_robot import (
    LEAD_S,
    LIMITS,
    PERIOD_S,
    STOP_LEAD_S,
    BusyRobot,
    braking_way,
    moving,
)
from limit_checks import require_within

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_policy_core.control.stops_ahead import PLAN_AGAIN_S


def stop(robot: BusyRobot, how: str) -> None:
    """Stop the robot in one of the ways in which the control node does."""
    if how == "hold":
        robot.player.hold(robot.now_ns, "enough")
    elif how == "inhibit":
        robot.player.inhibit("emergency stop")
    else:
        robot.player.change_limits({0: LIMITS}, robot.now_ns)


@pytest.mark.parametrize("how", ["hold", "inhibit", "change_limits"])
@pytest.mark.parametrize("forecast_ms", [45, 80, 125])
def test_a_stop_whose_way_to_rest_comes_late_brakes_from_where_the_robot_is_by_then(
    forecast_ms: int, how: str
) -> None:
    robot = moving()
    robot.forecast_ms = (forecast_ms, forecast_ms)
    stopped_at = robot.position
    stop(robot, how)
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


@pytest.mark.parametrize("how", ["hold", "inhibit", "change_limits"])
@pytest.mark.parametrize("after_ms", [0, 15, 40, 75, 95, 130])
@pytest.mark.parametrize("first", ["chunk", "person"])
def test_a_stop_right_after_the_first_trajectory_was_sent_stops_the_robot(
    first: str, after_ms: int, how: str
) -> None:
    """The robot has not begun: without what it was sent the player has nothing to command."""
    robot = BusyRobot(0)
    for _ in range(30):
        robot.step()
    if first == "chunk":
        robot.offer_ramp()
    else:
        robot.player.steer(np.array([0.3]), robot.now_ns)
    while not robot.sent:
        robot.step()
    for _ in range(after_ms):
        robot.step()
    stop(robot, how)
    for _ in range(1500):
        robot.step()
    assert robot.position < 0.02
    assert robot.position == pytest.approx(robot.sent[-1].trajectory.rows[-1, 0], abs=1e-6)
    assert robot.player.is_at_rest
    assert np.abs(np.diff(robot.path)).max() < 1e-3


@pytest.mark.parametrize("how", ["hold", "inhibit"])
def test_stops_that_follow_each_other_faster_than_they_are_planned_stop_the_robot(how: str) -> None:
    robot = moving()
    robot.forecast_ms = (60, 60)
    stopped_at = robot.position
    for number in range(15):
        if how == "hold":
            robot.player.hold(robot.now_ns, f"stop {number}")
        else:
            robot.player.inhibit("" if number % 2 else f"stop {number}")
        for _ in range(30):
            robot.step()
    assert robot.player.is_at_rest
    late_s = PLAN_AGAIN_S + 0.03 + 0.06 + STOP_LEAD_S + 2 * PERIOD_S
    assert robot.position < stopped_at + 0.5 * late_s + braking_way(0.5)
    assert "stop 14" in robot.player.reason


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
    robot.forecast_ms = (5, 10)
    for _ in range(600):
        robot.step()
    assert np.abs(np.diff(robot.path[-650:])).max() < 0.51e-3
    assert robot.position < stopped_at + 0.5 * 0.36 + braking_way(0.5)


@pytest.mark.parametrize("forecast_ms", [130, 200, 500])
@pytest.mark.parametrize("how", ["hold", "inhibit", "change_limits"])
def test_a_stop_on_a_machine_that_is_always_too_slow_brakes_at_once_when_it_is_late(
    forecast_ms: int, how: str
) -> None:
    robot = moving()
    robot.forecast_ms = (forecast_ms, forecast_ms)
    stopped_at, begun_ms = robot.position, robot.ms
    stop(robot, how)
    while np.abs(np.diff(robot.path[-30:])).max() > 1e-6:
        robot.step()
        is_moving = robot.path[-1] - robot.path[-2] > 1e-4
        assert not (is_moving and robot.player.is_at_rest)
    attempts = 2 if forecast_ms < 1e3 * PLAN_AGAIN_S else 1
    goes_on_s = attempts * forecast_ms * 1e-3 + 2 * STOP_LEAD_S + 2 * PERIOD_S
    assert robot.position < stopped_at + 0.5 * goes_on_s + braking_way(0.5)
    assert len(robot.sent) == 2
    way = robot.sent[-1].trajectory
    speeds = np.diff(way.rows[:, 0]) / PERIOD_S
    assert np.abs(np.diff(speeds)).max() < LIMITS.acceleration * PERIOD_S + 1e-9
    assert np.abs(np.diff(robot.path[begun_ms:])).max() < 0.56e-3  # its splines ring by a tenth
    for _ in range(1000):
        robot.step()
    assert robot.position == way.rows[-1, 0]
    assert len(robot.sent) == 2
    assert robot.player.is_sent
    robot.player.inhibit("")
    robot.forecast_ms = (5, 10)
    rows = robot.position + 0.5 * 0.05 * np.arange(20)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": rows}), robot.now_ns)
    begun_ms = robot.ms
    for _ in range(1500):
        robot.step()
    assert robot.position == pytest.approx(rows[-1, 0], abs=1e-3)
    assert np.abs(np.diff(robot.path[begun_ms:])).max() < 0.6e-3


def test_a_robot_that_brakes_at_once_takes_nothing_before_it_rests() -> None:
    robot = moving()
    fast = robot.position + 2.5 * 0.05 * np.arange(20)[:, None]
    robot.player.offer(Chunk(1, robot.now_ns, 0.05, {"arm": fast}), robot.now_ns)
    for _ in range(300):
        robot.step()
    robot.forecast_ms = (200, 200)
    robot.player.hold(robot.now_ns, "enough")
    while len(robot.sent) == 2:
        robot.step()
    rows = robot.position + np.zeros((20, 1))
    chunk = Chunk(2, robot.now_ns, 0.05, {"arm": rows})
    with pytest.raises(ChunkRefusedError, match="chunk 2: the robot brakes by its largest"):
        robot.player.offer(chunk, robot.now_ns)
    with pytest.raises(SteeringRefusedError, match="the robot brakes by its largest"):
        robot.player.steer(rows[0], robot.now_ns)
    robot.player.hold(robot.now_ns, "enough again")
    robot.player.change_limits({0: LIMITS}, robot.now_ns)
    for _ in range(1000):
        robot.step()
    assert robot.position == robot.sent[2].trajectory.rows[-1, 0]
    robot.player.offer(Chunk(3, robot.now_ns, 0.05, {"arm": rows}), robot.now_ns)


def test_a_late_stop_of_a_chunk_that_was_sent_but_not_begun_is_sent_all_the_same() -> None:
    """The robot begins the chunk meanwhile; the player, which has dropped it, does not."""
    robot = moving()
    for _ in range(1500):
        robot.step()
    rested = robot.position
    rows = rested + 0.5 * 0.05 * np.arange(40)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": rows}), robot.now_ns)
    while len(robot.sent) == 1:
        robot.step()
    for _ in range(40):
        robot.step()
    robot.forecast_ms = (90, 90)
    robot.player.hold(robot.now_ns, "enough")
    for _ in range(1000):
        robot.step()
    assert len(robot.sent) == 3
    assert robot.position == rested
    assert max(robot.path) < rested + 0.02
