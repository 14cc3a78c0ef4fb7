# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: what is put into the buffers, and what is rejected, over DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped
from helpers import wait_until
from policies_for_tests import parameters
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import JointState

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.node.qos import SENSOR
from gr00t_ros.policy.streams import ObservationStreams


def joints(stamp: Any) -> JointState:
    message = JointState(name=["finger"], position=[0.5])
    message.header.stamp = stamp
    return message


def pose(stamp: Any) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp = stamp
    return message


@pytest.mark.parametrize(
    ("name", "topic", "kind", "make"),
    [
        ("state.arm", "hand_pose", PoseStamped, pose),
        ("state.gripper", "joint_states", JointState, joints),
    ],
)
def test_a_stamp_ahead_of_the_clock_is_refused_and_what_follows_is_taken(
    ros_node: Node, name: str, topic: str, kind: Any, make: Callable[[Any], Any]
) -> None:
    changes = {
        "type": "pose_stamped",
        "topic": "hand_pose",
        "joints": None,
        "representation": "xyz_quat",
    }
    of_arm = {f"state__arm__{k}": v for k, v in changes.items()}
    contract = parse_contract(parameters(**of_arm, action__arm__unmeasured=True))
    streams = ObservationStreams(ros_node, contract)
    streams.subscribe(on_message=lambda: None)
    publisher = ros_node.create_publisher(kind, topic, SENSOR)

    def publish(ahead_s: float) -> None:
        now_ns = ros_node.get_clock().now().nanoseconds
        publisher.publish(make(Time(nanoseconds=now_ns + round(ahead_s * 1e9)).to_msg()))

    def is_rejected() -> bool:
        publish(2.0)
        return streams.rejected.count(name) > 0

    wait_until(is_rejected, what="a message that is refused")
    assert streams.buffers[name].latest() is None
    (news,) = streams.rejected.recent()
    assert news.startswith(f"{name}: ")
    assert "stamped ahead of this node's clock (the last: by " in news

    def taken() -> bool:
        publish(0.0)
        return streams.buffers[name].latest() is not None

    wait_until(taken, what="a message that is taken")
    streams.destroy()


def test_samples_that_the_clock_has_gone_back_behind_are_forgotten(ros_node: Node) -> None:
    contract = parse_contract(parameters())
    streams = ObservationStreams(ros_node, contract)
    streams.subscribe(on_message=lambda: None)
    now_ns = ros_node.get_clock().now().nanoseconds
    buffer = streams.buffers["state.gripper"]
    buffer.add(now_ns + 60_000_000_000, joints(Time().to_msg()), received_ns=0)
    publisher = ros_node.create_publisher(JointState, "joint_states", SENSOR)

    def taken() -> bool:
        publisher.publish(joints(ros_node.get_clock().now().to_msg()))
        newest = buffer.latest()
        return newest is not None and newest.stamp_ns < now_ns + 30_000_000_000

    wait_until(taken, what="the sample of the present")
    streams.destroy()
