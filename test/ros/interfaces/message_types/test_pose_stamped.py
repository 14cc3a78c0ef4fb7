# SPDX-License-Identifier: Apache-2.0
"""States from and commands in geometry_msgs/PoseStamped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.testing import assert_allclose

from gr00t_ros.interfaces.message_types.pose_stamped import PoseCommand, PoseState
from gr00t_ros.interfaces.pose_representations import (
    DIMENSIONS,
    poses_as_quaternions,
    represented,
)

HALF = np.sqrt(0.5)


def command() -> PoseCommand:
    return PoseCommand({"representation": "xyz_rpy", "frame_id": "base"})


def quaternion_of(message: Any) -> list[float]:
    q = message.pose.orientation
    return [q.x, q.y, q.z, q.w]


@pytest.mark.parametrize("representation", DIMENSIONS)
def test_every_representation_gives_back_the_pose_that_it_was_made_of(representation: str) -> None:
    rng = np.random.default_rng(1)
    poses = rng.normal(size=(20, 7))
    poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
    written = np.array([represented(pose, representation) for pose in poses])
    assert written.shape == (20, DIMENSIONS[representation])
    again = poses_as_quaternions(written, representation)
    assert_allclose(again[:, :3], poses[:, :3])
    assert_allclose(np.abs(np.sum(again[:, 3:] * poses[:, 3:], axis=1)), 1.0, atol=1e-12)


def test_the_measured_pose_is_in_the_frame_of_its_message() -> None:
    message = PoseStamped()
    message.header.frame_id = "base"
    message.pose.position.y = 2.0
    pose = PoseState({"representation": "xyz_rot6d"}).pose(message)
    assert pose.frame_id == "base"
    assert_allclose(pose.values, [0, 2, 0, 0, 0, 0, 1])


def test_a_command_has_a_frame_a_stamp_and_a_unit_quaternion() -> None:
    interface, stamp = command(), Time(sec=5)
    message = interface.make_message(0.01)
    interface.fill(message, np.array([1.0, 2.0, 3.0, 0.0, 0.0, 2.0, 2.0]), stamp)
    assert (message.header.frame_id, message.header.stamp) == ("base", stamp)
    assert message.pose.position.z == 3.0
    assert_allclose(quaternion_of(message), [0, 0, HALF, HALF])


def test_the_sign_of_the_first_command_is_kept_and_that_of_the_next_follows_it() -> None:
    interface = command()
    message = interface.make_message(0.01)
    interface.fill(message, np.array([0.0, 0.0, 0.0, 0.0, 0.0, -HALF, -HALF]), Time())
    assert_allclose(quaternion_of(message), [0, 0, -HALF, -HALF])
    interface.fill(message, np.array([0.0, 0.0, 0.0, 0.0, 0.0, HALF, HALF]), Time())
    assert_allclose(quaternion_of(message), [0, 0, -HALF, -HALF])


def test_a_command_is_seven_values_whatever_the_policy_writes() -> None:
    assert (command().dimension, command().command_dimension) == (6, 7)
