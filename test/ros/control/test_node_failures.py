# SPDX-License-Identifier: Apache-2.0
"""What fails within the control node: the robot comes to rest, and the node says so and ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped
from helpers import wait_for_log, wait_until
from motion_rig import DT_S, FRESH_CHUNK_S, Rig, urdf
from nodes_for_tests import chunk_of, close_node
from std_msgs.msg import String

from gr00t_policy_core.control import deadline_ticker
from gr00t_policy_core.control.command_limiter import CommandLimiter
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.motion_failure import MotionFailure
from gr00t_ros.control.motion_forecasts import MotionForecasts
from gr00t_ros.interfaces.command_publisher import CommandPublisher
from gr00t_ros.msg import ActionChunk, ControlStatus
from gr00t_ros.node.qos import DESCRIPTION

ERROR = ControlStatus.STATE_ERROR
TWIST = {
    "require_subscribers": False,
    "action__arm__topic": "twist",
    "action__arm__type": "twist_stamped",
    "action__arm__joints": None,
    "action__arm__frame_id": "base",
}
TRAJECTORY = {
    "action__gripper__topic": "fingers",
    "action__gripper__type": "joint_trajectory",
    "action__gripper__mode": "trajectory",
}


def fail(*_: Any, **__: Any) -> np.ndarray:
    raise FloatingPointError("broken on purpose")


def test_a_stop_during_a_failure_says_that_the_fallback_brakes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start(action__arm__max_acceleration=0.2, action__gripper__max_acceleration=0.2)
    rig.play(speed=1.0, horizon=400)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] > 0.3, what="it moves")
    monkeypatch.setattr(CommandLimiter, "follow", fail)
    wait_until(lambda: rig.node._motion.failure, what="the failure")
    response = rig.operator.trigger("stop")
    assert not response.success
    assert response.message == (
        "braking by the fallback: the motion cannot be computed; the robot is brought to rest, and "
        "the node ends:"
    )


def test_a_stop_that_a_stuck_loop_cannot_carry_out_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start()
    rig.play(speed=0.5, horizon=400)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] > 0.2, what="it moves")
    release = threading.Event()
    publish = CommandTopics.publish

    def stuck(*arguments: Any) -> None:
        release.wait(60.0)
        publish(*arguments)

    monkeypatch.setattr(CommandTopics, "publish", stuck)
    try:
        status = rig.operator.wait_for_status(lambda s: s.state == ERROR, "the error")
        assert status.reason == "the control loop does not tick"
        response = rig.operator.trigger("stop")
        assert (response.success, response.message) == (False, "the control loop does not tick")
    finally:
        release.set()
    rig.wait_for_rest()
    rig.operator.wait_for_reason("stopped by ~/stop")


def test_whatever_fails_in_motion_the_arm_is_braked_and_the_node_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start()
    rig.play(speed=1.5, horizon=200)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] > 0.5, what="it moves")
    monkeypatch.setattr(CommandLimiter, "follow", fail)
    status = rig.operator.wait_for_status(lambda s: s.state == ERROR, "the error")
    assert "FloatingPointError: broken on purpose" in status.reason
    rig.wait_for_rest()
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")
    wait_for_log(capfd, "the robot is brought to rest, and the node ends")
    rig.require_smooth(jerk=1e9)  # the fallback keeps all limits but that of the jerk
    assert not rig.operator.trigger("start").success
    rig.play(start=float(rig.path()[-1, 0]))
    count = len(set(rig.path()[:, 0]))
    rig.wait_for_commands(20)
    assert len(set(rig.path()[:, 0])) == count


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("hold", "a stop could not be planned"),
        ("measure", "a measurement could not be used"),
        ("change_limits", "new limits could not be used"),
    ],
)
def test_a_message_that_makes_the_player_fail_brakes_the_arm_and_ends_no_thread(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, part: str, what: str
) -> None:
    rig.start(robot_description_topic="robot_description")
    rig.play(speed=1.5, horizon=200)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] > 0.5, what="it moves")
    monkeypatch.setattr(MotionPlayer, part, fail)
    if part == "hold":
        rig.chunks.publish(ActionChunk(stop=True, stop_reason="enough"))
    elif part == "change_limits":
        slow = urdf(shoulder='lower="-3" upper="3" velocity="0.5"')
        rig.peer.create_publisher(String, "robot_description", DESCRIPTION).publish(
            String(data=slow)
        )
    status = rig.operator.wait_for_status(lambda s: s.state == ERROR, "the error")
    assert status.reason.startswith(what)
    assert "FloatingPointError: broken on purpose" in status.reason
    rig.wait_for_rest()
    rig.require_smooth(jerk=1e9)  # the fallback keeps all limits but that of the jerk
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")


def drive(rig: Rig, **changes: Any) -> list[TwistStamped]:
    """A base at 0.5 m/s beside a gripper that opens slowly; returns the twists it is told."""
    twists: list[TwistStamped] = []
    rig.peer.create_subscription(TwistStamped, "twist", twists.append, 500)
    rig.start(**TWIST, **changes)
    climb = 0.1 * DT_S * np.arange(400)[:, None]
    values = {"arm": np.full((400, 6), 0.5), "gripper": climb}
    played_s = -np.inf

    def drives() -> bool:
        """As `Rig.play_until`: a busy machine may plan a trajectory too late."""
        nonlocal played_s
        is_sent = changes != TRAJECTORY or rig.node._output.trajectory_count > 0
        if is_sent and twists and twists[-1].twist.linear.x == 0.5:
            return True
        if time.monotonic() - played_s > FRESH_CHUNK_S:
            rig.chunks.publish(chunk_of(values, t0_ns=rig.now_ns(), dt_s=DT_S))
            played_s = time.monotonic()
        return False

    wait_until(drives, what="the velocity")
    return twists


def require_braked(twists: list[TwistStamped]) -> None:
    """The base comes down to zero, and is not cut off."""
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, what="no velocity")
    speeds = np.array([message.twist.linear.x for message in twists])
    assert np.abs(np.diff(speeds)).max() < 0.25


@pytest.mark.parametrize(
    ("owner", "part"),
    [
        (CommandLimiter, "follow"),
        (MotionForecasts, "take"),
        (CommandTopics, "send_goals"),
        (MotionPlayer, "copy_ahead"),
    ],
)
def test_whatever_fails_in_a_tick_a_twist_beside_a_trajectory_comes_down_to_zero(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, owner: type, part: str
) -> None:
    twists = drive(rig, **TRAJECTORY)
    monkeypatch.setattr(owner, part, fail)
    if part == "copy_ahead":
        rig.chunks.publish(ActionChunk(stop=True, stop_reason="enough"))
    status = rig.operator.wait_for_status(lambda s: s.state == ERROR, "the error")
    assert "FloatingPointError: broken on purpose" in status.reason
    require_braked(twists)
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")


@pytest.mark.parametrize("changes", [{}, TRAJECTORY])
def test_a_brake_that_fails_too_leaves_no_velocity(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    twists = drive(rig, **changes)
    monkeypatch.setattr(MotionFailure, "next_command", fail)
    monkeypatch.setattr(CommandLimiter, "follow", fail)
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, what="no velocity")
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")


def test_a_topic_that_cannot_be_published_does_not_keep_another_from_braking(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    twists = drive(rig, action__gripper__topic="a_gripper", action__gripper__type="joint_state")
    publish = CommandPublisher.publish

    def broken(publisher: CommandPublisher, *arguments: Any) -> None:
        if publisher.topic == "/a_gripper":
            fail()
        publish(publisher, *arguments)

    rig.node._output._streams.sort(key=lambda stream: stream.topic)  # the broken one is first
    monkeypatch.setattr(CommandPublisher, "publish", broken)
    require_braked(twists)
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")


def test_a_control_loop_that_has_ended_is_a_failure_and_the_node_brakes_without_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    twists = drive(rig)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    assert not rig.node.has_failed
    monkeypatch.setattr(deadline_ticker.DeadlineTicker, "wait", fail)
    status = rig.operator.wait_for_status(lambda s: s.state == ERROR, "the error")
    assert status.reason == "the control loop has ended"
    wait_until(lambda: rig.node.has_failed, what="the node asks to be ended")
    assert twists[-1].twist.linear.x == 0.5
    close_node(rig.node)
    require_braked(twists)
