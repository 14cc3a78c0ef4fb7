# SPDX-License-Identifier: Apache-2.0
"""What reaches the policy: streams that come, stop, starve or carry something else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import rclpy
from helpers import wait_for_log, wait_until
from nodes_for_tests import (
    CONFIGURE,
    Drive,
    MakeNode,
    Operator,
    Robot,
    quiet_for,
)
from policies_for_tests import EchoPolicy
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from gr00t_ros.msg import ActionChunk, PolicyStatus


def test_a_camera_that_dies_stops_inference_by_name_and_its_return_resumes_it(
    drive: Drive,
    operator: Operator,
    chunks: list[ActionChunk],
    capfd: pytest.CaptureFixture[str],
) -> None:
    robot = drive(max_age_s=2.0)
    operator.wait_until_running()
    robot.pictures_on = False
    status = operator.wait_for_reason("video.front: stale on front/image_raw: newest message is")
    assert status.state == PolicyStatus.STATE_WAITING
    quiet_for(chunks, 0.5)
    count = len(chunks)
    later = operator.wait_for_reason("video.front: stale")
    assert later.inferences_skipped > status.inferences_skipped or later.inferences_skipped
    robot.pictures_on = True
    wait_until(lambda: len(chunks) > count, what="chunks again")
    operator.wait_until_running()
    assert capfd.readouterr().err.count("not inferring: video.front: stale") == 1


def test_a_camera_that_dies_while_a_long_chunk_is_played_whole_stops_the_robot(
    drive: Drive, operator: Operator, chunks: list[ActionChunk]
) -> None:
    """A chunk lasts 150 s, and nothing is asked before it ends."""
    robot = drive(
        inference="sync",
        replan_interval_s=None,
        action_rate_hz=0.1,
        max_age_s=1.0,
        max_observation_age_s=0.0,
    )
    quiet_for(chunks)
    assert not any(chunk.stop for chunk in chunks)
    robot.pictures_on = False
    wait_until(lambda: chunks[-1].stop, what="a stop")
    assert "the newest observation would be 2." in chunks[-1].stop_reason
    assert "video.front: stale on front/image_raw" in chunks[-1].stop_reason
    operator.wait_for_reason("video.front: stale on front/image_raw")
    robot.pictures_on = True
    wait_until(lambda: not chunks[-1].stop, what="the next chunk")


def test_a_missing_joint_is_named_in_the_status(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node()
    robot = Robot(ros_node)
    del robot.joints["elbow"]
    assert operator.trigger("start").success
    operator.wait_for_reason("state.arm: joints missing on joint_states: no joint ['elbow']")


def test_streams_without_stamps_get_their_time_of_arrival(
    drive: Drive, ros_node: Node, chunks: list[ActionChunk]
) -> None:
    drive(stamped=False)
    now_s = ros_node.get_clock().now().nanoseconds * 1e-9
    assert now_s - 30.0 < chunks[0].header.stamp.sec <= now_s


def test_a_stream_slower_than_expected_is_named_while_inference_goes_on(
    drive: Drive, operator: Operator
) -> None:
    drive(video__front__rate_hz=500.0, state__arm__rate_hz=5.0)
    status = operator.wait_for_reason("video.front: ")
    assert "Hz received, 500 Hz expected" in status.reason
    assert "state.arm" not in status.reason
    assert status.state == PolicyStatus.STATE_RUNNING
    assert [stream.expected_rate_hz for stream in status.streams[:2]] == [500.0, 5.0]
    assert status.streams[0].rate_hz > 0.0


def test_a_camera_that_appears_after_configure_is_found_raw_or_compressed(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    policy: EchoPolicy,
) -> None:
    make_node()
    Robot(ros_node, camera=False)
    assert operator.trigger("start").success
    operator.wait_for_reason("video.front: nothing received on front/image_raw yet")
    done, data = cv2.imencode(".png", np.full((2, 3, 3), 200, np.uint8))
    assert done
    camera = ros_node.create_publisher(CompressedImage, "front/image_raw", 5)

    def publish() -> None:
        message = CompressedImage(format="png", data=data.tobytes())
        message.header.stamp = ros_node.get_clock().now().to_msg()
        camera.publish(message)

    ros_node.create_timer(0.03, publish)
    wait_until(lambda: policy.observations, what="an observation")
    pixels = policy.observations[0]["video"]["front"]
    assert pixels.shape == (1, 1, 2, 3, 3)
    assert (pixels == 200).all()


def test_a_camera_topic_of_another_type_is_told(
    make_node: MakeNode,
    operator: Operator,
    ros_node: Node,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    ros_node.create_publisher(String, "front/image_raw", 1)
    assert operator.change_state(CONFIGURE) == [True]
    wait_for_log(capfd, "video.front: front/image_raw carries ['std_msgs/msg/String']")


def test_a_state_topic_of_another_type_is_told(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    """The type is wrong in the parameters: an array is expected where joint states come."""
    make_node(
        state__arm__type="float64_multi_array",
        state__arm__joints=None,
        state__gripper__topic="gripper_states",
        action__arm__unmeasured=True,
    )
    driver_context = Context()  # one participant has one type per topic
    rclpy.init(context=driver_context)
    driver = Node("driver", context=driver_context)
    driver.create_publisher(JointState, "joint_states", 1)
    assert operator.change_state(CONFIGURE) == [True]
    wait_for_log(capfd, "state.arm: joint_states carries ['sensor_msgs/msg/JointState']")
    driver.destroy_node()
    driver_context.try_shutdown()


def test_two_answers_of_history_reach_the_policy(
    start_node: MakeNode, ros_node: Node, operator: Operator
) -> None:
    policy = EchoPolicy(video_delta_indices=(-4, 0), state_delta_indices=(-2, 0))
    start_node(lambda settings: policy)
    Robot(ros_node)
    assert operator.trigger("start").success
    wait_until(lambda: policy.observations, what="an observation")
    observation = policy.observations[-1]
    assert observation["video"]["front"].shape == (1, 2, 2, 3, 3)
    assert observation["state"]["arm"].shape == (1, 2, 2)


def test_image_messages_of_an_unknown_encoding_are_named(
    make_node: MakeNode, operator: Operator, ros_node: Node
) -> None:
    make_node()
    Robot(ros_node, camera=False)
    camera = ros_node.create_publisher(Image, "front/image_raw", 5)

    def publish() -> None:
        message = Image(height=1, width=1, step=2, encoding="bayer_rggb16", data=bytes(2))
        message.header.stamp = ros_node.get_clock().now().to_msg()
        camera.publish(message)

    ros_node.create_timer(0.03, publish)
    assert operator.trigger("start").success
    operator.wait_for_reason("bayer_rggb16")
