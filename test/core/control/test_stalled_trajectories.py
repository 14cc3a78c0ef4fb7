# SPDX-License-Identifier: Apache-2.0
"""Whole trajectories on a busy machine: a control loop that stalls, forecasts that come late."""

from __future__ import annotations

import contextlib
import random

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
    stall,
)
from limit_checks import require_within

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.commands_ahead import MAX_LEAD_S
from gr00t_policy_core.control.look_ahead import MAX_LATE_STEP
from gr00t_policy_core.control.steering import SteeringRefusedError


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


def test_a_chunk_whose_trajectory_takes_longer_than_the_lead_is_planned_further_ahead() -> None:
    robot = moving()
    robot.forecast_ms = (250, 300)
    not_sent = 0
    for number in range(2, 12):
        ahead = robot.position + 0.5 * 0.05 * np.arange(20)[:, None]
        with contextlib.suppress(ChunkRefusedError):
            robot.player.offer(Chunk(number, robot.now_ns, 0.05, {"arm": ahead}), robot.now_ns)
        sent = len(robot.sent)
        for _ in range(700):
            robot.step()
        not_sent += len(robot.sent) == sent
    assert not_sent == 0
    assert not robot.player.refusal
    assert 0.25 < robot.player.lead_s < 0.45
    assert np.abs(np.diff(robot.path)).max() < 1e-3
    robot.forecast_ms = (5, 10)
    for _ in range(40_000):
        robot.step()
    assert robot.player.lead_s == LEAD_S


def test_a_robot_rests_where_it_was_sent_if_the_rest_of_a_long_chunk_is_planned_too_late() -> None:
    robot = moving()
    rows = robot.position + 0.05 * 0.05 * np.arange(260)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": rows}), robot.now_ns)
    for _ in range(9000):
        robot.step()
    assert len(robot.sent) == 2  # a forecast is ten seconds long
    end = robot.sent[-1].trajectory.rows[-1, 0]
    assert end < rows[-1, 0] - 0.05
    robot.forecast_ms = (900, 900)
    for _ in range(4000):
        robot.step()
    assert "trajectory_lead_s 0.1 is too short" in robot.player.reason
    assert robot.position == pytest.approx(end, abs=1e-3)
    assert robot.player.place == pytest.approx(robot.position, abs=1e-9)
    assert robot.player.is_at_rest


def test_no_lead_is_longer_than_half_a_second() -> None:
    robot = moving()
    robot.forecast_ms = (2000, 2000)
    for number in range(2, 5):
        ahead = robot.position + 0.1 * 0.05 * np.arange(100)[:, None]
        robot.player.offer(Chunk(number, robot.now_ns, 0.05, {"arm": ahead}), robot.now_ns)
        for _ in range(4500):
            robot.step()
    assert "trajectory_lead_s 0.1 is too short" in robot.player.refusal
    assert robot.player.lead_s <= MAX_LEAD_S
    robot.forecast_ms = (5, 10)
    robot.player.hold(robot.now_ns, "enough")
    for _ in range(100):
        robot.step()
    assert robot.player.is_sent


@pytest.mark.parametrize("stall_ms", [(20, 400), (300, 2500)])
@pytest.mark.parametrize("seed", range(4))
def test_a_robot_that_is_stopped_at_random_on_a_busy_machine_makes_no_large_step(
    seed: int, stall_ms: tuple[int, int]
) -> None:
    robot = moving(seed, max_joint_ages_s={0: 0.3})
    chance = random.Random(seed)
    robot.stalls, robot.stall_ms, robot.forecast_ms = 0.01, stall_ms, (10, 130)
    begun_ms = robot.ms
    for _ in range(3000):
        robot.step()
        if chance.random() < 0.01:
            robot.player.hold(robot.now_ns, "enough")
        if chance.random() < 0.01:
            robot.player.inhibit(chance.choice(["", "emergency stop"]))
        if chance.random() < 0.005:
            robot.is_measured = not robot.is_measured
        if chance.random() < 0.02:
            ahead = robot.position + 0.5 * 0.05 * np.arange(20)[:, None]
            with contextlib.suppress(ChunkRefusedError):
                chunk = Chunk(robot.ms, robot.now_ns, 0.05, {"arm": ahead})
                robot.player.offer(chunk, robot.now_ns)
    steps = np.abs(np.diff(robot.path[begun_ms:]))
    smooth = MAX_LATE_STEP + 1e-3 * LIMITS.velocity
    assert steps.max() < smooth + 0.5 * LEAD_S  # a late stop of a chunk that was sent already
    assert (steps > smooth).sum() < 5


def require_brake_without_jump(robot: BusyRobot, stopped_at: float) -> None:
    """The newest trajectory brakes from where the robot was, at 0.5 rad/s."""
    for _ in range(700):
        robot.step()
    stop = robot.sent[-1]
    assert not stop.is_late
    require_within(stop.trajectory.rows[:, 0], LIMITS, PERIOD_S)
    assert np.abs(np.diff(robot.path)).max() < 0.51e-3
    way = 0.5 * (STOP_LEAD_S + 2 * PERIOD_S) + braking_way(0.5)
    assert stopped_at < robot.position < stopped_at + way


def test_measurements_that_a_stall_made_old_brake_where_the_robot_is_by_then() -> None:
    """After a stall the loop may tick before the executor takes what was measured meanwhile."""
    robot = moving(max_joint_ages_s={0: 0.2})
    robot.is_measured = False
    stall(robot, 300)
    stopped_at = robot.position
    robot.is_measured = True
    require_brake_without_jump(robot, stopped_at)
    assert "the position of arm[0] is 0.3" in robot.player.reason


def test_a_robot_that_does_not_follow_in_a_stall_is_braked_where_it_is_commanded_by_then() -> None:
    robot = moving(max_following_errors={0: 0.1})
    robot.blocked_at = robot.position
    stall(robot, 300)
    fault, robot.blocked_at = robot.player.fault, None
    require_brake_without_jump(robot, robot.position)
    assert "does not follow: commanded 0.3" in fault


@pytest.mark.parametrize("pause_ms", [990, 1100, 3000])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_after_a_long_pause_the_robot_goes_on_from_the_end_of_the_path_that_it_was_sent(
    pause_ms: int, is_stopped: bool
) -> None:
    robot = moving()
    stall(robot, pause_ms)
    arrived_at = robot.sent[-1].trajectory.rows[-1, 0]
    assert robot.position == arrived_at
    if is_stopped:
        robot.player.hold(robot.now_ns, "enough")
    for _ in range(500):
        robot.step()
    assert robot.position == arrived_at
    back = robot.position - 0.5 * 0.05 * np.arange(20)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": back}), robot.now_ns)
    for _ in range(1500):
        robot.step()
    assert robot.position == pytest.approx(back[-1, 0])
    assert np.abs(np.diff(robot.path)).max() < 0.6e-3
    for one in robot.sent:
        require_within(one.trajectory.rows[:, 0], LIMITS, PERIOD_S)


@pytest.mark.parametrize("is_sent", [False, True])
def test_after_a_long_pause_of_the_loop_a_chunk_was_played_where_it_was_sent_and_only_there(
    is_sent: bool,
) -> None:
    robot = moving()
    back = robot.position - 0.5 * 0.05 * np.arange(20)[:, None]
    robot.player.offer(Chunk(2, robot.now_ns, 0.05, {"arm": back}), robot.now_ns)
    while robot._forecast is None:
        robot.step()
    if not is_sent:  # the thread that sends it pauses, too
        robot._forecast = (robot.ms + 3050, robot._forecast[1])
    stall(robot, 3000)
    for _ in range(500):
        robot.step()
    assert len(robot.sent) == 1 + is_sent
    assert robot.position == robot.sent[-1].trajectory.rows[-1, 0]
    assert np.abs(np.diff(robot.path)).max() < 1e-3 * LIMITS.velocity
