# SPDX-License-Identifier: Apache-2.0
"""What ends the process of a control node, and how the robot comes to rest before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import trajectory_rig
from geometry_msgs.msg import TwistStamped
from helpers import wait_until
from nodes_for_tests import chunk_of
from nodes_rig import SLOW_S, Process, Scene, ends_with

from gr00t_ros.msg import ActionChunk

BROKEN = """
import sys
from gr00t_policy_core.control import command_limiter
from gr00t_ros.control.control_node import main

class Limiter(command_limiter.CommandLimiter):
    ticks = 0
    def follow(self, path):
        Limiter.ticks += 1
        if Limiter.ticks > 150:
            raise FloatingPointError("broken on purpose")
        return super().follow(path)

from gr00t_policy_core.control import command_output
command_output.CommandLimiter = Limiter
sys.exit(main())
"""

# Says the velocities that it gets, and that there are no more.
DRIVER = """
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
rclpy.init()
node = Node("driver")
quiet = node.create_timer(20.0, lambda: print("end", flush=True))
quiet.cancel()
def show(message):
    print(message.twist.linear.x, flush=True)
    quiet.reset()
node.create_subscription(TwistStamped, "base", show, 500)
rclpy.spin(node)
"""


LOOPLESS = """
import sys
from gr00t_policy_core.control.deadline_ticker import DeadlineTicker
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.control_node import main

publish, wait = CommandTopics.publish, DeadlineTicker.wait
fast_ticks = 0

def counted(topics, values, now):
    global fast_ticks
    fast_ticks += values["arm"][0] > 0.3
    publish(topics, values, now)

def broken(ticker):
    if fast_ticks > 50:
        raise FloatingPointError("broken on purpose")
    return wait(ticker)

CommandTopics.publish, DeadlineTicker.wait = counted, broken
sys.exit(main())
"""


# Waits for the measurements of a busy machine.
PATIENT = """
import sys
from gr00t_ros.control import activation
from gr00t_ros.control.control_node import main

activation.DOUBT_S = 60.0
sys.exit(main())
"""


def test_a_control_node_whose_loop_ends_brakes_and_ends_with_an_error(scene: Scene) -> None:
    twists, control = _driving(scene, code=LOOPLESS, action__arm__max_linear_acceleration=0.5)
    assert ends_with(control) == 1
    assert "the control loop has ended" in control.output()
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "the last twist")
    speeds = np.array([message.twist.linear.x for message in twists])
    assert np.abs(np.diff(speeds)).max() < 0.3 * speeds.max()  # some messages may be lost


def test_a_control_node_whose_motion_fails_brakes_and_ends_with_an_error(scene: Scene) -> None:
    scene.start_server()
    scene.start_node("policy_node")
    control = scene.start_node("control_node", code=BROKEN)
    assert ends_with(control) == 1
    output = control.output()
    assert (
        "the motion cannot be computed; the robot is brought to rest, and the node ends" in output
    )
    assert "FloatingPointError: broken on purpose" in output
    last, before = scene.commands[-1].points[0], scene.commands[-2].points[0]
    assert list(last.positions) == list(before.positions)  # it stood when the process ended


def test_braking_at_the_end_takes_as_long_as_the_limits_need(scene: Scene) -> None:
    twists, control = _driving(scene)
    speed = twists[-1].twist.linear.x
    control.signal(signal.SIGINT)
    assert ends_with(control) == 0
    assert "braking takes" in control.output()
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "the last twist")
    speeds = np.array([message.twist.linear.x for message in twists])
    assert np.abs(np.diff(speeds)).max() < 0.3 * speed  # some messages may be lost on the way


def test_a_process_that_ends_sees_its_robot_of_whole_trajectories_rest(scene: Scene) -> None:
    """The way to rest does not reach the controller at first."""
    scene.robot.arm_on = False  # the controller's robot is measured instead
    robot = trajectory_rig.Robot(scene.peer)
    chunks = scene.peer.create_publisher(ActionChunk, "action_chunk", 5)
    control = scene.start_node("control_node", code=PATIENT, **trajectory_rig.MODE)
    played_s = 0.0

    def moves() -> bool:
        nonlocal played_s
        if time.monotonic() - played_s > 2.0:  # the first ones may come before the node is active
            played_s = time.monotonic()
            climb = robot.controller.position[0] + 0.025 * np.arange(100)[:, None]
            values = {"arm": np.hstack([climb, climb]), "gripper": climb}
            t0_ns = scene.peer.get_clock().now().nanoseconds
            chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=0.05))
        return bool(robot.controller.position[0] > 0.1)

    wait_until(moves, SLOW_S, "the robot moves")
    robot.lost = 1
    control.signal(signal.SIGINT)
    assert ends_with(control) == 0
    assert "its controller is told to brake again" in control.output()
    wait_until(robot.rests, what="rest")
    assert robot.controller.position[0] < 2.0  # the chunk ends at 2.475


def test_a_supervisor_that_sends_other_signals_meanwhile_does_not_cut_braking_short(
    scene: Scene,
) -> None:
    """`ros2 launch` sends SIGTERM 5 s after SIGINT, and the terminal may be closed meanwhile."""
    twists, control = _driving(scene)
    speed = twists[-1].twist.linear.x
    control.signal(signal.SIGINT)
    wait_until(lambda: "braking takes" in control.output(), SLOW_S, "it brakes")
    for number in (signal.SIGTERM, signal.SIGHUP):
        _outlast_a_doubled_ctrl_c()
        control.signal(number)
    assert ends_with(control) == 0
    assert "cuts braking short" not in control.output()
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "the last twist")
    speeds = np.array([message.twist.linear.x for message in twists])
    assert np.abs(np.diff(speeds)).max() < 0.3 * speed  # some messages may be lost on the way


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_same_signal_again_cuts_braking_short_and_says_so(
    scene: Scene, number: signal.Signals
) -> None:
    twists, control = _driving(scene)
    control.signal(number)
    wait_until(lambda: "braking takes" in control.output(), SLOW_S, "it brakes")
    _outlast_a_doubled_ctrl_c()
    control.signal(number)
    assert ends_with(control) == 0
    assert "a second signal cuts braking short" in control.output()
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "the last twist")


def test_a_driver_that_is_busy_at_the_end_gets_the_last_command(scene: Scene) -> None:
    _, control = _driving(scene)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert any(float(line) > 0.1 for line in iter(driver.stdout.readline, ""))
        control.signal(signal.SIGINT)
        wait_until(lambda: "braking takes" in control.output(), SLOW_S, "it brakes")
        _outlast_a_doubled_ctrl_c()
        driver.send_signal(signal.SIGSTOP)
        control.signal(signal.SIGINT)
        signalled_s = time.monotonic()
        wait_until(lambda: time.monotonic() - signalled_s > 2.5, what="it stands still for a while")
        driver.send_signal(signal.SIGCONT)
        assert ends_with(control) == 0
        assert any(float(line) == 0.0 for line in iter(driver.stdout.readline, "end\n"))
    finally:
        driver.terminate()
        driver.communicate(timeout=SLOW_S)


def _outlast_a_doubled_ctrl_c() -> None:
    begun_s = time.monotonic()
    wait_until(lambda: time.monotonic() - begun_s > 0.6, what="more than a doubled Ctrl-C")


def _driving(scene: Scene, **changes: Any) -> tuple[list[TwistStamped], Process]:
    """A base at 0.4 m/s whose limits take 8 s to stop it, unless they are changed."""
    twists: list[TwistStamped] = []
    scene.peer.create_subscription(TwistStamped, "base", twists.append, 500)
    control = scene.start_node(
        "control_node",
        action__arm__topic="base",
        action__arm__type="twist_stamped",
        action__arm__joints=None,
        action__arm__frame_id="base",
        **{"action__arm__max_linear_acceleration": 0.05, **changes},
    )
    chunks = scene.peer.create_publisher(ActionChunk, "action_chunk", 5)
    wait_until(chunks.get_subscription_count, SLOW_S, "the node listens")
    values = {"arm": np.full((600, 6), 0.4), "gripper": np.full((600, 1), 0.5)}

    def drives() -> bool:
        if not twists:
            t0_ns = int(scene.peer.get_clock().now().nanoseconds)
            chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=0.05))
        return bool(twists) and twists[-1].twist.linear.x > 0.2

    wait_until(drives, SLOW_S, "it drives")
    return twists, control
