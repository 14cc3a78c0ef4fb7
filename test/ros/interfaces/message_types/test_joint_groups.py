# SPDX-License-Identifier: Apache-2.0
"""Joints by name: sensor_msgs/JointState and trajectory_msgs/JointTrajectory."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState

from gr00t_ros.interfaces.joint_names import JointGroupCommand
from gr00t_ros.interfaces.message_types.joint_state import JointStateCommand, JointStateState
from gr00t_ros.interfaces.message_types.joint_trajectory import JointTrajectoryCommand

ARM = {"joints": ["a", "b"], "joint_prefix": ""}
GRIPPER = {"joints": ["c"], "joint_prefix": ""}
LEFT = {"joints": ["left_a", "left_b"], "joint_prefix": "left_"}


def test_a_trajectory_is_one_point_one_period_ahead_that_begins_at_once() -> None:
    interface = JointTrajectoryCommand(ARM)
    message = interface.make_message(0.02)
    interface.fill(message, np.array([1.0, 2.0]), Time(sec=5))
    (point,) = message.points
    assert message.joint_names == ["a", "b"]
    assert list(point.positions) == [1.0, 2.0]
    assert point.time_from_start.nanosec == 20_000_000
    assert message.header.stamp == Time()


def test_joint_states_have_names_and_the_stamp_of_the_command() -> None:
    interface, stamp = JointStateCommand(ARM), Time(sec=5)
    message = interface.make_message(0.02)
    interface.fill(message, np.array([1.0, 2.0]), stamp)
    assert (message.name, list(message.position)) == (["a", "b"], [1.0, 2.0])
    assert message.header.stamp == stamp


@pytest.mark.parametrize("cls", [JointStateCommand, JointTrajectoryCommand])
def test_groups_of_joints_make_one_message(cls: type[JointGroupCommand]) -> None:
    both = cls(ARM).joined([cls(GRIPPER)])
    assert type(both) is cls
    assert (both.joints, both.dimension) == (("a", "b", "c"), 3)


@pytest.mark.parametrize("cls", [JointStateState, JointStateCommand, JointTrajectoryCommand])
def test_a_joint_is_named_once(cls: type) -> None:
    with pytest.raises(ValueError, match="joints repeats"):
        cls({**ARM, "joints": ["a", "a"], "field": "position"})


def test_positions_are_measured_and_other_fields_are_not() -> None:
    assert JointStateState({**ARM, "field": "position"}).measured_joints == ("a", "b")
    assert JointStateState({**ARM, "field": "effort"}).measured_joints == ()


def test_the_positions_of_a_message_are_those_of_all_its_joints() -> None:
    message = JointState(name=["z", "a"], position=[0.1, 0.2])
    names, positions = JointStateState({**ARM, "field": "position"}).joint_positions(message)
    assert (list(names), list(positions)) == (["z", "a"], [0.1, 0.2])


@pytest.mark.parametrize("cls", [JointStateCommand, JointTrajectoryCommand])
def test_the_names_in_a_message_lack_the_prefix(cls: type[JointGroupCommand]) -> None:
    left = cls(LEFT)
    message = left.make_message(0.02)
    names = message.name if cls is JointStateCommand else message.joint_names
    assert (left.joints, list(names)) == (("left_a", "left_b"), ["a", "b"])
    assert left.joined([cls(ARM)]) is None
    both = left.joined([cls({"joints": ["left_c"], "joint_prefix": "left_"})])
    assert (both.joints, both.message_joints) == (("left_a", "left_b", "left_c"), ("a", "b", "c"))


def test_a_measured_joint_has_its_prefix() -> None:
    state = JointStateState({**LEFT, "field": "position"})
    message = JointState(name=["b", "a"], position=[0.1, 0.2])
    assert state.joint_positions(message)[0] == ["left_b", "left_a"]
    buffer = state.make_buffer(10**9)
    buffer.add(1, message, received_ns=1)
    assert state.read(buffer.latest().value).tolist() == [0.2, 0.1]


@pytest.mark.parametrize("joints", [["a"], ["left_a", "right_b"], ["left_"]])
def test_every_joint_begins_with_the_prefix(joints: list[str]) -> None:
    with pytest.raises(ValueError, match=r"joint_prefix is 'left_', .* must begin with it"):
        JointTrajectoryCommand({"joints": joints, "joint_prefix": "left_"})
