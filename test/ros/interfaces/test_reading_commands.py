# SPDX-License-Identifier: Apache-2.0
"""Commands that somebody else published are read as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.interfaces.interface import CommandInterface, ConversionError
from gr00t_ros.interfaces.message_types.float64_multi_array import ArrayCommand
from gr00t_ros.interfaces.message_types.joint_state import JointStateCommand
from gr00t_ros.interfaces.message_types.joint_trajectory import JointTrajectoryCommand
from gr00t_ros.interfaces.message_types.pose_stamped import PoseCommand
from gr00t_ros.interfaces.message_types.twist import TwistCommand
from gr00t_ros.interfaces.message_types.twist_stamped import TwistStampedCommand
from gr00t_ros.interfaces.twist_axes import AXES

JOINTS = {"joints": ["a", "b"], "joint_prefix": ""}
LEFT_JOINTS = {"joints": ["left_a", "left_b"], "joint_prefix": "left_"}
INTERFACES = [
    JointStateCommand(JOINTS),
    JointTrajectoryCommand(JOINTS),
    ArrayCommand({"joints": [], "when_holding": "last"}),
    PoseCommand({"representation": "xyz_rpy", "frame_id": "base"}),
    TwistStampedCommand({"frame_id": "base", "axes": list(AXES)}),
    TwistCommand({"axes": list(AXES)}),
]


def name_of(interface: CommandInterface) -> str:
    return type(interface).__name__


@pytest.mark.parametrize("interface", INTERFACES, ids=name_of)
def test_a_command_is_read_as_it_was_filled_in(interface: CommandInterface) -> None:
    values = np.random.default_rng(3).normal(size=interface.command_dimension or 4)
    if interface.commands_pose:
        values[3:] /= np.linalg.norm(values[3:])
        values[3:] *= np.sign(values[6])
    message = interface.make_message(0.01)
    interface.fill(message, values, Time(sec=5))
    np.testing.assert_allclose(interface.read(message), values, rtol=0, atol=1e-15)


def test_joints_are_matched_by_name() -> None:
    message = JointState(name=["x", "b", "a"], position=[9.0, 2.0, 1.0])
    assert JointStateCommand(JOINTS).read(message).tolist() == [1.0, 2.0]
    assert JointStateCommand(LEFT_JOINTS).read(message).tolist() == [1.0, 2.0]


def test_what_cannot_be_a_command_is_rejected_with_the_reason() -> None:
    point = JointTrajectoryPoint(positions=[1.0])
    joints, array = JointTrajectoryCommand(JOINTS), ArrayCommand({**JOINTS, "when_holding": "last"})
    pose, twist = INTERFACES[3], INTERFACES[4]
    for interface, message, reason in (
        (joints, JointTrajectory(joint_names=["a"], points=[point]), r"no position of \['b'\]"),
        (
            joints,
            JointTrajectory(joint_names=["a", "b"], points=[point]),
            r"no position of \['b'\]",
        ),
        (joints, JointTrajectory(joint_names=["a", "b"]), "0 points"),
        (array, Float64MultiArray(data=[1.0]), "1 values, not 2"),
        (array, Float64MultiArray(), "no values"),
        (pose, PoseStamped(), "in frame '', expected 'base'"),
        (twist, TwistStamped(), "in frame '', expected 'base'"),
    ):
        with pytest.raises(ConversionError, match=reason):
            interface.read(message)
    message = PoseStamped()
    message.header.frame_id = "base"
    message.pose.orientation.w = 0.0
    with pytest.raises(ConversionError, match="length zero"):
        pose.read(message)
