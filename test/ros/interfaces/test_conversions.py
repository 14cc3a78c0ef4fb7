# SPDX-License-Identifier: Apache-2.0
"""States and actions: messages to arrays by name, and arrays to commands, in both sides' units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from numpy.testing import assert_allclose
from policies_for_tests import parameters
from std_msgs.msg import Float64MultiArray

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.streams import ActionOutput, StateStream
from gr00t_ros.interfaces.command_path import ChunkStart
from gr00t_ros.interfaces.conversions import commands_from_actions, state_reader
from gr00t_ros.interfaces.interface import ConversionError

HALF = np.sqrt(0.5)
START = ChunkStart({}, 0.1)


def state(**changes: Any) -> StateStream:
    changes = {f"state__arm__{name}": value for name, value in changes.items()}
    values = parameters(state__gripper__topic="hand", action__arm__unmeasured=True, **changes)
    joints = values.get("state.arm.joints", [])
    if "state.arm.field" not in values and {"shoulder", "elbow"} <= {*joints}:
        del values["action.arm.unmeasured"]
    return parse_contract(values).state_streams[0]


def array(**changes: Any) -> StateStream:
    return state(type="float64_multi_array", joints=None, **changes)


def pose_state(representation: str) -> StateStream:
    return state(type="pose_stamped", joints=None, representation=representation)


def action(message_type: str, **changes: Any) -> ActionOutput:
    is_body = message_type in ("pose_stamped", "twist_stamped")
    settings = {
        "type": message_type,
        "topic": "out",
        "frame_id": "base" if is_body else None,
        "joints": None,
        "unmeasured": message_type != "twist_stamped",
        **changes,
    }
    changes = {f"action__arm__{name}": value for name, value in settings.items()}
    return parse_contract(parameters(**changes)).action[0]


def pose(position: Sequence[float], quaternion: Sequence[float]) -> PoseStamped:
    message = PoseStamped()
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = position
    q.x, q.y, q.z, q.w = quaternion
    return message


def test_joints_are_taken_as_they_were_merged() -> None:
    values = state_reader(state())(np.array([0.1, -0.2]))
    assert values.dtype == np.float32
    assert_allclose(values, [0.1, -0.2], rtol=1e-6)


def test_scale_and_offset_make_the_policys_units() -> None:
    read = state_reader(state(scale=[100.0, 10.0], offset=[1.0]))
    assert_allclose(read(np.array([0.1, -0.2])), [11.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_state_that_no_float32_holds_is_refused(value: float) -> None:
    with pytest.raises(ConversionError, match=r"state.arm: values that are not finite"):
        state_reader(state())(np.array([0.0, value]))


def test_an_array_is_taken_as_it_is() -> None:
    values = state_reader(array())(Float64MultiArray(data=[1.0, 2.0, 3.0]))
    assert_allclose(values, [1.0, 2.0, 3.0])


def test_an_empty_array_is_refused() -> None:
    with pytest.raises(ConversionError, match="no values"):
        state_reader(array())(Float64MultiArray())


def test_an_array_of_another_length_than_its_scale_is_refused() -> None:
    read = state_reader(array(scale=[1.0, 2.0]))
    with pytest.raises(ConversionError, match="scale has 2 values, expected 1 or 3"):
        read(Float64MultiArray(data=[1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("representation", "expected"),
    [
        ("xyz_quat", [1, 2, 3, 0, 0, HALF, HALF]),
        ("xyz_rotvec", [1, 2, 3, 0, 0, np.pi / 2]),
        ("xyz_rot6d", [1, 2, 3, 0, -1, 0, 1, 0, 0]),  # rows of the matrix, not columns
        ("xyz_rpy", [1, 2, 3, 0, 0, np.pi / 2]),
    ],
)
def test_a_pose_is_read_in_the_policys_representation(
    representation: str, expected: list[float]
) -> None:
    read = state_reader(pose_state(representation))
    values = read(pose((1.0, 2.0, 3.0), (0.0, 0.0, HALF, HALF)))
    assert_allclose(values, expected, atol=1e-6)


def test_selected_values_are_taken_in_the_order_of_their_indices() -> None:
    values = state_reader(array(select=[2, 0], scale=[10.0, 1.0]))
    assert_allclose(values(Float64MultiArray(data=[1.0, 2.0, 3.0])), [30.0, 1.0])


def test_an_index_beyond_the_message_is_refused() -> None:
    read = state_reader(array(select=[2, 0]))
    with pytest.raises(
        ConversionError, match=r"state.arm: select has \[2\], the message has 2 val"
    ):
        read(Float64MultiArray(data=[1.0, 2.0]))


def test_a_pose_without_orientation_is_refused() -> None:
    read = state_reader(pose_state("xyz_quat"))
    with pytest.raises(ConversionError, match="norm 0"):
        read(pose((1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 0.0)))


def test_a_command_is_in_the_robots_units() -> None:
    output = action("joint_state", joints=["a", "b"], scale=[0.5, 2.0], offset=[1.0, 0.0])
    commands = commands_from_actions(
        output, np.array([[2.0, 3.0], [4.0, 5.0]], np.float32), START
    ).values
    assert commands.dtype == np.float64
    assert_allclose(commands, [[2.0, 6.0], [3.0, 10.0]])


@pytest.mark.parametrize(
    ("representation", "values"),
    [
        ("xyz_quat", [1, 2, 3, 0, 0, 2 * HALF, 2 * HALF]),
        ("xyz_rotvec", [1, 2, 3, 0, 0, np.pi / 2]),
        ("xyz_rot6d", [1, 2, 3, 0, -1, 0, 1, 0, 0]),
        ("xyz_rpy", [1, 2, 3, 0, 0, np.pi / 2]),
    ],
)
def test_a_pose_is_commanded_as_a_unit_quaternion(representation: str, values: list[float]) -> None:
    output = action("pose_stamped", representation=representation)
    commands = commands_from_actions(output, np.array([values], np.float32), START).values
    assert_allclose(commands, [[1, 2, 3, 0, 0, HALF, HALF]], atol=1e-6)


def test_neighbouring_poses_are_interpolated_the_short_way() -> None:
    output = action("pose_stamped", representation="xyz_quat")
    q = np.array([0.0, 0.0, HALF, HALF])
    poses = np.array([[0, 0, 0, *q], [0, 0, 0, *-q]], np.float32)
    commands = commands_from_actions(output, poses, START).values
    assert_allclose(commands[1], commands[0], atol=1e-6)


def test_a_rotation_that_is_none_is_refused() -> None:
    output = action("pose_stamped", representation="xyz_rot6d")
    with pytest.raises(ConversionError, match=r"action.arm: a 6D rotation has a zero row"):
        commands_from_actions(output, np.zeros((2, 9), np.float32), START)


@pytest.mark.parametrize("representation", ["xyz_rot6d", "xyz_quat"])
def test_the_step_of_a_rotation_that_is_none_is_named(representation: str) -> None:
    output = action("pose_stamped", representation=representation)
    values = np.tile(np.eye(9, dtype=np.float32)[3], (40, 1)) + np.eye(9, dtype=np.float32)[7]
    poses = values[:, :9] if representation == "xyz_rot6d" else values[:, :7]
    poses[17, 3:] = 0.0
    with pytest.raises(ConversionError, match=r"in step 17$") as caught:
        commands_from_actions(output, poses, START)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("output", "dimension", "expected"),
    [
        (action("joint_trajectory", joints=["a", "b"]), 3, 2),
        (action("twist_stamped"), 7, 6),
        (action("pose_stamped", representation="xyz_quat"), 9, 7),
    ],
)
def test_another_number_of_values_than_the_command_has_is_refused(
    output: ActionOutput, dimension: int, expected: int
) -> None:
    with pytest.raises(
        ConversionError,
        match=f"answered {dimension} values per step, the parameters give {expected}",
    ):
        commands_from_actions(output, np.zeros((4, dimension), np.float32), START)


@pytest.mark.parametrize("dimension", [1, 2])
def test_an_array_of_another_size_than_its_scale_is_refused_not_stretched(dimension: int) -> None:
    output = action("float64_multi_array", scale=[1.0, 2.0, 3.0])
    with pytest.raises(ConversionError, match=f"scale has 3 values, expected 1 or {dimension}"):
        commands_from_actions(output, np.ones((4, dimension), np.float32), START)
