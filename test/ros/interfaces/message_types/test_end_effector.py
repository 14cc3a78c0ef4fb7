# SPDX-License-Identifier: Apache-2.0
"""Poses out of joints, and joints out of poses, as the parameters say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("pinocchio", reason="computes the kinematics")
from bench.arms import seven_joint_arm
from gr00t_policy_core import rotation
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.kinematics.chain import NO_TOOL, Chain
from gr00t_policy_core.kinematics.pose_convention import NO_ROTATION
from gr00t_ros.interfaces.command_path import ChunkStart
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.message_types.end_effector import (
    EndEffectorCommand,
    EndEffectorState,
)
from gr00t_ros.interfaces.pose_representations import DIMENSIONS, represented

ARM = seven_joint_arm()
CHAIN = Chain(ARM.urdf, ARM.base, ARM.tip)
HOME = np.array(ARM.home)
LIMITS = [JointLimits(-4.0, 4.0, 3.0, 25.0, 500.0)] * 7
REVERSED = tuple(reversed(CHAIN.joints))
TOOL = (0.0, 0.05, 0.1, 0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
TURN = (0.5, -0.5, -0.5, 0.5)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "source": "joint_states",
        "joints": list(REVERSED),
        "base": ARM.base,
        "tip": ARM.tip,
        "tool": list(NO_TOOL),
        "rotation_before": list(NO_ROTATION),
        "rotation_after": list(NO_ROTATION),
        "representation": "xyz_rot6d",
        "command": "joint_trajectory",
        "on_unreachable": "refuse",
        "position_tolerance": 0.001,
        "orientation_tolerance": 0.005,
        **changes,
    }


def start(step_s: float = 0.05) -> ChunkStart:
    return ChunkStart(dict(zip(CHAIN.joints, HOME.tolist(), strict=True)), step_s)


@pytest.mark.parametrize("representation", list(DIMENSIONS))
def test_a_pose_that_is_measured_is_commanded_back_to_the_same_joints(representation: str) -> None:
    changes = {
        "representation": representation,
        "tool": list(TOOL),
        "rotation_before": list(TURN),
        "rotation_after": list(TURN),
    }
    state = EndEffectorState(settings(**changes)).described(ARM.urdf)
    pose = state.read(HOME[::-1])
    assert pose.shape == (DIMENSIONS[representation],)
    command = EndEffectorCommand(settings(**changes)).described(ARM.urdf, LIMITS)

    path = command.path(np.repeat(pose[None], 3, axis=0), start())

    assert_allclose(path.values, np.repeat(HOME[None, ::-1], 3, axis=0), atol=1e-4)
    assert path.quality is not None
    assert path.quality.position_error_m < 1e-4
    assert path.quality.warning == ""


def test_without_a_tool_the_pose_is_that_of_the_tip() -> None:
    state = EndEffectorState(settings()).described(ARM.urdf)
    assert_allclose(state.read(HOME[::-1]), represented(CHAIN.pose(HOME), "xyz_rot6d"), atol=1e-12)


def test_a_tool_and_a_rotation_after_turn_about_the_tip() -> None:
    state = EndEffectorState(settings(tool=list(TOOL), rotation_after=list(TURN)))
    pose = state.described(ARM.urdf).read(HOME[::-1])
    tip = CHAIN.pose(HOME)
    matrix = rotation.matrix_from_quaternion(tip[3:])
    assert_allclose(pose[:3], tip[:3] + matrix @ TOOL[:3], atol=1e-12)
    turned = matrix @ rotation.matrix_from_quaternion(np.array(TOOL[3:]))
    turned = turned @ rotation.matrix_from_quaternion(np.array(TURN))
    assert_allclose(pose[3:], turned[:2].ravel(), atol=1e-12)


def test_before_a_description_there_is_no_pose() -> None:
    with pytest.raises(ConversionError, match="no robot description"):
        EndEffectorState(settings()).read(HOME)
    with pytest.raises(ConversionError, match="no robot description"):
        EndEffectorCommand(settings()).path(np.zeros((2, 9)), start())


@pytest.mark.parametrize(
    ("joints", "why"),
    [
        (REVERSED[1:], "joint7 moves link8 against link0, too: add it to the joints"),
        ((*REVERSED, "finger"), "finger does not move link8 against link0; the joints that do are"),
    ],
)
def test_joints_that_are_not_the_chain_are_told(joints: tuple[str, ...], why: str) -> None:
    state = EndEffectorState(settings(joints=list(joints)))
    with pytest.raises(ValueError, match=why):
        state.described(ARM.urdf)


def straight_away(reach_m: float) -> np.ndarray:
    poses = np.repeat(CHAIN.pose(HOME)[None], 20, axis=0)
    poses[:, 0] += np.linspace(0.0, reach_m, 20)
    return np.array([represented(pose, "xyz_rot6d") for pose in poses])


def test_a_chunk_out_of_reach_is_refused_or_cut_short() -> None:
    refusing = EndEffectorCommand(settings()).described(ARM.urdf, LIMITS)
    with pytest.raises(ConversionError, match=r"step \d+ of 20 \(\d\.\d\d s\) is unreachable"):
        refusing.path(straight_away(1.0), start(0.2))
    truncating = EndEffectorCommand(settings(on_unreachable="truncate"))
    path = truncating.described(ARM.urdf, LIMITS).path(straight_away(1.0), start(0.2))
    assert 2 <= len(path.values) < 20
    assert path.quality is not None
    assert "is unreachable" in path.quality.warning


def test_a_chunk_of_which_nothing_is_left_is_refused() -> None:
    command = EndEffectorCommand(settings(on_unreachable="truncate")).described(ARM.urdf, LIMITS)
    far = straight_away(0.0)
    far[:, 0] += 3.0
    with pytest.raises(ConversionError, match="nothing is left to play"):
        command.path(far, start())


def test_a_joint_that_is_not_measured_is_told() -> None:
    command = EndEffectorCommand(settings()).described(ARM.urdf, LIMITS)
    with pytest.raises(ConversionError, match="does not measure joint7, joint6"):
        command.path(straight_away(0.0), ChunkStart({"joint1": 0.0}, 0.05))


def test_limits_that_contradict_the_description_are_told() -> None:
    high = [JointLimits(3.5, 4.0, 3.0, 25.0, 500.0)] * 7
    with pytest.raises(ValueError, match=r"joint joint1: lower limit 3\.5 must be below"):
        EndEffectorCommand(settings()).described(ARM.urdf, high)


@pytest.mark.parametrize("command", ["joint_trajectory", "joint_state", "float64_multi_array"])
def test_the_joints_travel_in_the_message_that_is_asked_for(command: str) -> None:
    interface = EndEffectorCommand(settings(command=command))
    message = interface.make_message(0.01)
    assert isinstance(message, interface.message_type)
    interface.fill(message, HOME, None) if command == "float64_multi_array" else None
    assert type(interface.carrier).message_type is interface.message_type
