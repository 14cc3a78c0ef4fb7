# SPDX-License-Identifier: Apache-2.0
"""What the demo says of itself: judged by when things happened, not by when it heard of them."""

from __future__ import annotations

import errno
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest
import rclpy.subscription
import yaml
from helpers import wait_until
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.sim import demo
from gr00t_ros.sim.cube_log import LIFT_S, CubeLog
from gr00t_ros.sim.demo_processes import config
from gr00t_ros.sim.demo_recorder import DemoRecorder, JointHistory
from gr00t_ros.sim.demo_report import JOINTS, RATE_HZ, Summary, summarise

LASTED_S = 6.0
BIN = (0.125, -0.16, 0.0)


def wave(times_s: np.ndarray, size_rad: float = 0.5) -> JointHistory:
    history = JointHistory()
    for time_s in times_s:
        history.add(time_s, JOINTS, [size_rad * math.sin(2.0 * time_s)] * len(JOINTS))
    return history


def recorder_of(
    commanded: JointHistory,
    measured: JointHistory,
    *,
    ticks_missed: int = 0,
    cubes: CubeLog | None = None,
) -> SimpleNamespace:
    return SimpleNamespace(
        commanded=commanded,
        measured=measured,
        round_trips_s=[0.01],
        ticks=len(commanded.times_s),
        ticks_missed=ticks_missed,
        lifted_picture=None,
        cubes=cubes or CubeLog(BIN),
    )


def summary_of(*histories: JointHistory, ticks_missed: int = 0) -> Summary:
    return summarise(recorder_of(*histories, ticks_missed=ticks_missed))


def ticks(rate_hz: float = RATE_HZ) -> np.ndarray:
    return np.arange(0.0, LASTED_S, 1.0 / rate_hz)


def late(history: JointHistory, lag_s: float) -> JointHistory:
    return JointHistory(history.names, [t + lag_s for t in history.times_s], history.positions)


def test_an_arm_that_trails_its_commands_a_little_followed() -> None:
    summary = summary_of(wave(ticks()), late(wave(ticks()), 0.05))

    assert summary.lag_s == pytest.approx(0.05)
    assert summary.tracking_error_rad < 0.01
    assert summary.followed
    assert "the arm followed" in str(summary)
    assert "busy" not in str(summary)


@pytest.mark.parametrize("size_rad", [0.0, 0.2, -0.5])
def test_an_arm_that_does_something_else_did_not_follow(size_rad: float) -> None:
    summary = summary_of(wave(ticks()), wave(ticks(), size_rad))

    assert not summary.followed
    assert "the arm did NOT follow" in str(summary)


def test_an_arm_that_stands_still_as_told_did_not_follow() -> None:
    still = wave(ticks(), 0.0)

    assert not summary_of(still, still).followed


def test_nothing_recorded_is_nothing_followed() -> None:
    assert not summary_of(JointHistory(), JointHistory()).followed


def test_gaps_in_what_the_arm_says_are_not_held_against_it() -> None:
    times_s = ticks()
    told = times_s[(times_s < 2.0) | (times_s > 3.0)]

    summary = summary_of(wave(times_s), wave(told))

    assert summary.followed
    assert summary.tracking_error_rad < 0.01
    assert "this machine is busy: the simulated arm ran at 83 Hz instead of 100" in str(summary)


def test_a_busy_machine_is_named_and_not_the_arm() -> None:
    summary = summary_of(wave(ticks(80.0)), wave(ticks(), 0.2), ticks_missed=120)

    assert not summary.followed
    assert "cannot tell whether the arm followed" in str(summary)
    assert "this machine is busy: the control node missed 20% of its ticks" in str(summary)


def test_a_cube_that_was_asked_for_in_time_and_not_lifted_fails_the_demo() -> None:
    cubes = CubeLog(BIN)
    cubes.ask("red", 0.0)
    cubes.see({"red": (0.2, 0.0, 0.0125)}, LIFT_S + 1.0)
    follows = wave(ticks())
    summary = summarise(recorder_of(follows, follows, cubes=cubes))
    assert summary.followed
    assert not summary.succeeded
    assert "red NOT lifted in 16.0 s: the arm followed, and did NOT lift red" in str(summary)


def test_what_became_of_each_cube_is_told() -> None:
    cubes = CubeLog(BIN)
    cubes.ask("red", 0.0)
    cubes.see({"red": (0.2, 0.0, 0.1)}, 3.0)
    cubes.ask("red", 4.0)  # the same again
    cubes.see({"red": (0.125, -0.16, 0.013)}, 7.0)
    assert not cubes.is_in_bin("red")  # it may still move
    cubes.see({"red": (0.125, -0.16, 0.013)}, 8.0)
    cubes.ask("green", 9.0)
    cubes.see({"red": (0.125, -0.16, 0.013), "green": (0.2, 0.0, 0.1)}, 12.0)
    cubes.ask("", 13.0)
    assert str(cubes) == (
        "red in the bin after 8.0 s, green lifted after 3.0 s, an instruction that names no cube"
    )
    assert cubes.is_in_bin("red")
    assert not cubes.is_in_bin("green")
    assert cubes.overdue == []


def test_a_cube_that_was_never_lifted_is_not_put_away_by_rolling_into_the_bin() -> None:
    cubes = CubeLog(BIN)
    cubes.ask("red", 0.0)
    cubes.see({"red": (0.125, -0.16, 0.013)}, 8.0)
    assert cubes.requests[0].binned_s is None


def test_an_instruction_that_is_withdrawn_early_is_not_overdue() -> None:
    cubes = CubeLog(BIN)
    cubes.ask("red", 0.0)
    cubes.ask("blue", 5.0)
    cubes.pause(9.0)
    cubes.see({"red": (0.2, 0.0, 0.0125), "blue": (0.2, 0.1, 0.0125)}, 60.0)
    assert cubes.overdue == []
    assert str(cubes) == "red NOT lifted in 5.0 s, blue NOT lifted in 4.0 s"


def test_the_rate_that_is_expected_is_that_of_the_demo() -> None:
    parameters = yaml.safe_load(config("demo.yaml").read_text())["/**"]["ros__parameters"]

    assert parameters["control_rate_hz"] == RATE_HZ
    assert parameters["state"]["single_arm"]["rate_hz"] == RATE_HZ


@pytest.mark.skipif(
    not hasattr(rclpy.subscription, "MessageInfo"), reason="Humble does not tell when it was sent"
)
def test_a_recorder_that_comes_to_it_late_knows_when_it_was_said(
    ros_context: Context, ros_node: Node
) -> None:
    rclpy.init()  # the recorder lives in the default context, as in the demo
    recorder = DemoRecorder(BIN)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    try:
        recorder.start()
        commands = ros_node.create_publisher(JointTrajectory, "arm/joint_trajectory", 1)
        joints = ros_node.create_publisher(JointState, "joint_states", 10)
        for publisher in (commands, joints):
            wait_until(publisher.get_subscription_count, what="the recorder listens")
        before_s = time.time()
        point = JointTrajectoryPoint(positions=[0.1])
        commands.publish(JointTrajectory(joint_names=["a"], points=[point]))
        stamped = JointState(name=["a"], position=[0.2])
        stamped.header.stamp.sec = 7
        joints.publish(stamped)
        after_s = time.time()
        wait_until(lambda: time.time() > after_s + 1.0, what="a busy recorder")
        wait_until(lambda: executor.spin_once(0.1) or recorder.commanded.times_s, what="a command")
        wait_until(lambda: executor.spin_once(0.1) or recorder.measured.times_s, what="a state")
    finally:
        executor.shutdown()
        recorder.destroy_node()
        rclpy.shutdown()

    assert before_s <= recorder.commanded.times_s[0] <= after_s + 0.5
    assert recorder.measured.times_s == [7.0]


def test_a_disk_that_got_full_costs_the_pictures_and_not_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_room(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = recorder_of(wave(ticks()), wave(ticks()))
    monkeypatch.setattr(demo, "write_pictures", no_room)

    assert demo._report(recorder) == 0
    told = capsys.readouterr().out
    assert "the arm followed" in told
    assert f"no picture could be written to {Path('demo').absolute()}: No space left" in told
