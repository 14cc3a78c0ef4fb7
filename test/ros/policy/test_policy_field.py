# SPDX-License-Identifier: Apache-2.0
"""Streams as they are in the field: several drivers on one topic, wrong stamps, bad pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import MakeNode, Operator, Robot
from policies_for_tests import EchoPolicy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image, JointState

from gr00t_policy_core import PolicyServer
from gr00t_ros.msg import ActionChunk, PolicyStatus

MANY = 5  # chunks, after which a stream is taken not to stand in the way


class Driver:
    """A node of its own manner: publishes what `make` gives for its turn, at its own rate."""

    def __init__(
        self, peer: Node, kind: Any, topic: str, rate_hz: float, make: Callable[[int], Any]
    ) -> None:
        self._peer = peer
        self._make = make
        self._turn = 0
        self._publisher = peer.create_publisher(kind, topic, qos_profile_sensor_data)
        self._timer = peer.create_timer(1.0 / rate_hz, self._publish)

    def _publish(self) -> None:
        message = self._make(self._turn)
        self._turn += 1
        ahead_s = message.header.stamp.sec
        now_ns = self._peer.get_clock().now().nanoseconds
        message.header.stamp = Time(nanoseconds=now_ns + ahead_s * 1_000_000_000).to_msg()
        self._publisher.publish(message)


def joints_driver(peer: Node, rate_hz: float, **positions: float) -> Driver:
    return Driver(
        peer,
        JointState,
        "joint_states",
        rate_hz,
        lambda turn: JointState(name=list(positions), position=list(positions.values())),
    )


def camera(peer: Node, make: Callable[[int], Any], kind: Any = Image) -> Driver:
    return Driver(peer, kind, "front/image_raw", 30.0, make)


def rgb(turn: int = 0, *, encoding: str = "rgb8", ahead_s: int = 0) -> Image:
    """Red 10, green 20, blue 30; `ahead_s` is put into the stamp for the driver to add."""
    message = Image(height=2, width=3, step=9, encoding=encoding, data=bytes([10, 20, 30] * 6))
    message.header.stamp.sec = ahead_s
    return message


def infers(chunks: list[ActionChunk]) -> None:
    seen = len(chunks)
    wait_until(lambda: len(chunks) >= seen + MANY, 20.0, f"{MANY} chunks more")


def test_joints_of_several_drivers_on_one_topic_make_one_state(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
    chunks: list[ActionChunk],
) -> None:
    make_node(state__arm__rate_hz=200.0)
    drivers = [
        camera(ros_node, rgb),
        joints_driver(ros_node, 50.0, shoulder=0.1),
        joints_driver(ros_node, 10.0, elbow=-0.2),
        joints_driver(ros_node, 50.0, finger=0.5),
        joints_driver(ros_node, 100.0, left_wheel=9.0, right_wheel=8.0),
    ]
    assert operator.trigger("start").success
    infers(chunks)
    state = policy.observations[-1]["state"]
    np.testing.assert_allclose(state["arm"], [[[0.1, -0.2]]], rtol=1e-6)
    np.testing.assert_allclose(state["gripper"], [[[0.5]]])
    status = operator.wait_for_reason("state.arm: ")  # starving, which it can tell after 3 s
    (rate_hz,) = [stream.rate_hz for stream in status.streams if stream.name == "state.arm"]
    assert 0.0 < rate_hz < 25.0  # the elbow's, not that of all messages
    assert len(drivers) == 5


def test_a_driver_that_dies_is_told_by_its_joint(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node(max_age_s=0.3)
    camera(ros_node, rgb)
    joints_driver(ros_node, 50.0, shoulder=0.1, finger=0.5)
    dying = joints_driver(ros_node, 50.0, elbow=-0.2)
    assert operator.trigger("start").success
    infers(chunks)
    dying._timer.cancel()
    operator.wait_for_reason("state.arm: stale on joint_states: newest message of elbow is")
    dying._timer.reset()
    infers(chunks)


def test_frames_stamped_ahead_are_rejected_and_counted(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    make_node()
    joints_driver(ros_node, 50.0, shoulder=0.1, elbow=-0.2, finger=0.5)
    camera(ros_node, lambda turn: rgb(ahead_s=2 if turn % 5 == 0 else 0))
    assert operator.trigger("start").success
    infers(chunks)
    now_s = ros_node.get_clock().now().nanoseconds * 1e-9
    assert all(chunk.header.stamp.sec <= now_s for chunk in chunks)
    status = operator.wait_for_reason("rejected, stamped ahead of this node's clock (the last: by ")
    assert "video.front: " in status.reason
    assert status.state == PolicyStatus.STATE_RUNNING


@pytest.mark.parametrize("stream", ["video.front", "state.arm"])
def test_a_stream_whose_clock_is_ahead_for_good_is_named(
    make_node: MakeNode, operator: Operator, ros_node: Node, stream: str
) -> None:
    make_node()
    ahead_s = 3

    def joints(turn: int) -> JointState:
        message = JointState(name=["shoulder", "elbow", "finger"], position=[0.1, -0.2, 0.5])
        message.header.stamp.sec = ahead_s if stream == "state.arm" else 0
        return message

    Driver(ros_node, JointState, "joint_states", 50.0, joints)
    camera(ros_node, lambda turn: rgb(ahead_s=ahead_s if stream == "video.front" else 0))
    assert operator.trigger("start").success
    status = operator.wait_for_reason(f"{stream}: stamped ahead of this node's clock: by ")
    assert status.state == PolicyStatus.STATE_WAITING
    operator.wait_for_reason(f"{stream}: ")


def jpeg(turn: int) -> CompressedImage:
    """Every second one or so is cut, with an end marker: OpenCV shows it, grey from the cut on.

    In no order: a node that infers at every sixth picture sees damaged ones, too.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", pixels)
    whole = data.tobytes()
    damaged = whole[: len(whole) // 2] + whole[-2:]
    is_damaged = turn > 0 and np.random.default_rng(turn).random() < 0.5
    return CompressedImage(format="jpeg", data=damaged if is_damaged else whole)


@pytest.mark.parametrize("image_encoding", ["raw", "jpeg"])
def test_damaged_jpegs_are_counted_and_never_reach_the_policy(
    make_client_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
    chunks: list[ActionChunk],
    image_encoding: str,
) -> None:
    simplejpeg = pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")
    expected = simplejpeg.decode_jpeg(bytes(jpeg(0).data))
    joints_driver(ros_node, 50.0, shoulder=0.1, elbow=-0.2, finger=0.5)
    camera(ros_node, jpeg, CompressedImage)
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        make_client_node(policy__port=server.port, policy__image_encoding=image_encoding)
        assert operator.trigger("start").success
        infers(chunks)
        status = operator.wait_for_reason("video.front: ")
        assert "rejected, cannot be read (the last: " in status.reason
        assert "a damaged JPEG: Corrupt JPEG data" in status.reason
        assert status.inference_errors == 0
    for observation in policy.observations:
        np.testing.assert_array_equal(observation["video"]["front"][0, 0], expected)


def test_8uc3_is_read_by_the_encoding_of_the_parameters(
    make_node: MakeNode,
    operator: Operator,
    robot_joints: Robot,
    policy: EchoPolicy,
    ros_node: Node,
) -> None:
    make_node(video__front__encoding="bgr8")
    camera(ros_node, lambda turn: rgb(encoding="8UC3"))
    assert operator.trigger("start").success
    wait_until(lambda: policy.observations, 15.0, "an observation")
    np.testing.assert_array_equal(
        policy.observations[0]["video"]["front"][0, 0], np.full((2, 3, 3), [30, 20, 10])
    )


@pytest.fixture
def robot_joints(ros_node: Node) -> Robot:
    return Robot(ros_node, camera=False)


def depth(turn: int) -> Image:
    return Image(height=2, width=3, step=6, encoding="16UC1", data=bytes(12))


def depth_png(turn: int) -> CompressedImage:
    _, data = cv2.imencode(".png", np.full((2, 3), 1500, np.uint16))
    return CompressedImage(format="png", data=data.tobytes())


@pytest.mark.parametrize(
    ("make", "kind", "expected"),
    [
        (depth, Image, "image encoding '16UC1' is a depth image, or has more"),
        (depth_png, CompressedImage, "format 'png', of uint16, is a depth image, or has more"),
        (lambda turn: rgb(encoding="8UC3"), Image, "'8UC3' does not say which colours"),
    ],
)
def test_what_is_no_colour_picture_is_refused_by_name(
    make_node: MakeNode,
    operator: Operator,
    robot_joints: Robot,
    ros_node: Node,
    make: Callable[[int], Any],
    kind: Any,
    expected: str,
) -> None:
    make_node()
    camera(ros_node, make, kind)
    assert operator.trigger("start").success
    status = operator.wait_for_reason(expected)
    assert status.state == PolicyStatus.STATE_WAITING
    assert status.reason.startswith("video.front: cannot be read")
