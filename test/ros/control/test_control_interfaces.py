# SPDX-License-Identifier: Apache-2.0
"""Each message that can carry a command."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from control_ramps import DT_S, MakeNode, now_ns
from geometry_msgs.msg import PoseStamped, TwistStamped
from helpers import wait_until
from nodes_for_tests import (
    DEACTIVATE,
    Operator,
    chunk_of,
    quiet_for,
)
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time
from std_msgs.msg import Float64MultiArray

PlayOn = Callable[..., list[Any]]


@pytest.fixture
def play_on(activate_node: MakeNode, chunks: Publisher, ros_node: Node) -> PlayOn:
    """Plays the arm's values (horizon, D); the messages on its topic, once some have come."""

    def play(message_type: type, arm: np.ndarray, **changes: Any) -> list[Any]:
        received: list[Any] = []
        ros_node.create_subscription(message_type, "arm", received.append, 100)
        activate_node(
            stands_at=(0.0, 0.0, 0.0),
            action__arm__topic="arm",
            **{"action__arm__joints": None, **changes},
        )
        values = {"arm": arm, "gripper": np.zeros((len(arm), 1))}
        chunks.publish(chunk_of(values, t0_ns=now_ns(ros_node), dt_s=DT_S))
        wait_until(lambda: len(received) > 5, what="commands")
        return received

    return play


def test_an_array_is_published_bare_and_the_policys_units_do_not_matter(play_on: PlayOn) -> None:
    received = play_on(
        Float64MultiArray,
        np.full((5, 3), 2.0),
        action__arm__type="float64_multi_array",
        action__arm__scale=[0.5, 1.0, 2.0],
        action__arm__offset=1.0,
        action__arm__unmeasured=True,
    )
    assert list(received[-1].data) == pytest.approx([2.0, 2.0, 2.0], abs=1e-12)


def test_a_pose_is_stamped_framed_and_normalised(
    play_on: PlayOn, operator: Operator, ros_node: Node
) -> None:
    turning = np.array(
        [
            [0.1, 0.2, 0.3, 0.0, 0.0, np.sin(angle / 2), np.cos(angle / 2)]
            for angle in np.linspace(0, 3.0, 20)
        ]
    )
    received = play_on(
        PoseStamped,
        turning,
        action__arm__type="pose_stamped",
        action__arm__representation="xyz_rotvec",
        action__arm__frame_id="base_link",
        action__arm__unmeasured=True,
    )
    operator.wait_for_reason("ended and no other came")
    end = pytest.approx(np.sin(1.5))
    wait_until(lambda: received[-1].pose.orientation.z == end, what="the end")
    for message in received:
        q = message.pose.orientation
        assert np.linalg.norm([q.x, q.y, q.z, q.w]) == pytest.approx(1.0, abs=1e-9)
    last = received[-1]
    assert last.header.frame_id == "base_link"
    assert Time.from_msg(last.header.stamp).nanoseconds <= now_ns(ros_node)
    position = last.pose.position
    assert [position.x, position.y, position.z] == pytest.approx([0.1, 0.2, 0.3])


def test_a_pose_stops_above_its_floor_and_says_so(play_on: PlayOn, operator: Operator) -> None:
    heights_m = np.linspace(0.3, 0.0, 30)
    sinking = np.array([[0.4, 0.0, height_m, 0.0, 0.0, 0.0, 1.0] for height_m in heights_m])
    received = play_on(
        PoseStamped,
        sinking,
        action__arm__type="pose_stamped",
        action__arm__representation="xyz_rotvec",
        action__arm__frame_id="base_link",
        action__arm__unmeasured=True,
        action__arm__floor=[0.0, 0.0, 1.0, 0.1],
    )
    operator.wait_for_reason("the pose of action.arm cannot go further: it would cross floor")
    wait_until(lambda: received[-1].pose == received[-20].pose, what="rest")
    lowest_m = min(message.pose.position.z for message in received)
    assert 0.1 <= lowest_m < 0.12


def test_a_twist_is_held_with_zeros(play_on: PlayOn, operator: Operator) -> None:
    received = play_on(
        TwistStamped,
        np.tile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], (30, 1)),
        action__arm__type="twist_stamped",
        action__arm__frame_id="base_link",
    )
    wait_until(lambda: received[-1].twist.linear.y > 0.2 - 1e-7, what="the velocity")
    twist = received[-1].twist
    assert (twist.linear.y, twist.angular.z) == (pytest.approx(0.2), pytest.approx(0.6))
    assert received[0].header.frame_id == "base_link"
    operator.wait_for_reason("ended and no other came")
    wait_until(lambda: received[-1].twist.linear.x == 0.0, what="no velocity")
    last = received[-1].twist
    assert [last.linear.y, last.linear.z, last.angular.x, last.angular.z] == [0.0] * 4
    speeds = [message.twist.linear.x for message in received]
    assert max(abs(a - b) for a, b in pairwise(speeds)) < 0.05  # it rises and falls gently


def test_a_velocity_does_not_stay_commanded_when_the_node_is_deactivated(
    play_on: PlayOn, operator: Operator
) -> None:
    received = play_on(
        TwistStamped,
        np.full((400, 6), 0.5),
        action__arm__type="twist_stamped",
        action__arm__frame_id="base_link",
    )
    wait_until(lambda: received[-1].twist.linear.x == 0.5, what="the velocity")
    assert operator.change_state(DEACTIVATE) == [True]
    wait_until(lambda: received[-1].twist.linear.x == 0.0, what="a last command of no velocity")
    quiet_for(received)
    assert received[-1].twist.linear.x == 0.0


def test_velocities_of_named_joints_keep_their_limits_and_come_down_to_zero(
    play_on: PlayOn, operator: Operator
) -> None:
    received = play_on(
        Float64MultiArray,
        np.tile([2.0, -0.1], (30, 1)),
        action__arm__type="float64_multi_array",
        action__arm__joints=["shoulder", "elbow"],
        action__arm__when_holding="zero",
        action__arm__max_velocity=[0.5, 1.0],
        action__arm__max_acceleration=2.0,
        action__arm__max_jerk=40.0,
    )
    operator.wait_for_reason("ended and no other came")
    wait_until(lambda: list(received[-1].data) == [0.0, 0.0], what="no velocity")
    speeds = np.array([message.data for message in received])
    assert speeds[:, 0].max() == 0.5
    assert -0.1 - 1e-9 <= speeds[:, 1].min() < 0.0  # set going, and slowed down, with the other
    # Nothing is lost on the way in this process: the messages are one tick, 0.01 s, apart.
    assert np.abs(np.diff(speeds, axis=0)).max() <= 2.0 * 0.01 + 1e-9
    assert np.abs(np.diff(speeds, 2, axis=0)).max() <= 40.0 * 0.01**2 + 1e-9


def test_velocities_of_named_joints_brake_within_their_limits_when_the_node_is_deactivated(
    play_on: PlayOn, operator: Operator
) -> None:
    received = play_on(
        Float64MultiArray,
        np.full((400, 2), 0.4),
        action__arm__type="float64_multi_array",
        action__arm__joints=["shoulder", "elbow"],
        action__arm__when_holding="zero",
        action__arm__max_acceleration=1.0,
    )
    wait_until(lambda: received[-1].data[0] == pytest.approx(0.4), what="the velocity")
    assert operator.change_state(DEACTIVATE) == [True]
    wait_until(lambda: list(received[-1].data) == [0.0, 0.0], what="a last command of no velocity")
    speeds = np.array([message.data for message in received])
    assert np.abs(np.diff(speeds, axis=0)).max() <= 1.0 * 0.01 + 1e-9
