# SPDX-License-Identifier: Apache-2.0
"""The measurements of commanded joints and poses, and how a player learns them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from motion_contracts import LAYOUT, POSE, POSE_LAYOUT, TWIST, UNMEASURED_POSE, contract_of

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_ros.control.measurements import CommandedJoints, CommandedPoses
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.interfaces.interface import MeasuredPose

S_NS = 1_000_000_000


class Told(MotionPlayer):
    """Keeps what it is told of the joints."""

    def __init__(self) -> None:
        super().__init__(LAYOUT, PlayerSettings(period_s=0.01))
        self.told: dict[int, tuple[float, int]] = {}

    def measure(self, positions: Any, stamp_ns: int) -> None:
        self.told.update({index: (at, stamp_ns) for index, at in positions.items()})


def test_a_pose_is_told_whole_and_normalised_where_its_stream_has_the_same_frame() -> None:
    poses, player = CommandedPoses(contract_of(**POSE)), Told()
    assert {key: stream.topic for key, stream in poses.streams.items()} == {"arm": "tool"}
    pose = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 2.0])
    why = poses.update("arm", MeasuredPose(pose, "camera"), S_NS)
    assert why.startswith("state.arm is in frame 'camera', action.arm in 'base'")
    assert poses.update("arm", MeasuredPose(np.full(7, np.nan), "base"), S_NS) == ""
    poses.update_player(player, POSE_LAYOUT)
    assert player.told == {}
    assert poses.update("arm", MeasuredPose(pose, "base"), 2 * S_NS) == ""
    poses.update_player(player, POSE_LAYOUT)
    values = [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0]
    assert player.told == {index: (value, 2 * S_NS) for index, value in enumerate(values)}


def test_a_pose_that_no_state_tells_is_not_listened_for() -> None:
    assert CommandedPoses(contract_of(**UNMEASURED_POSE)).streams == {}
    assert CommandedPoses(contract_of()).streams == {}


def test_joints_are_told_by_name_whatever_their_order_and_company() -> None:
    joints, player = CommandedJoints(contract_of()), Told()
    joints.update_player(player, LAYOUT)
    assert player.told == {}
    joints.update(["wheel", "finger", "elbow"], [9.0, 0.5, -0.2], 5 * S_NS)
    joints.update_player(player, LAYOUT)
    assert player.told == {1: (-0.2, 5 * S_NS), 2: (0.5, 5 * S_NS)}


def test_each_joint_keeps_the_stamp_of_its_own_message() -> None:
    joints, player = CommandedJoints(contract_of()), Told()
    joints.update(["shoulder", "elbow"], [0.1, 0.2], 5 * S_NS)
    joints.update(["finger"], [0.3], 6 * S_NS)
    joints.update_player(player, LAYOUT)
    assert player.told == {0: (0.1, 5 * S_NS), 1: (0.2, 5 * S_NS), 2: (0.3, 6 * S_NS)}


def test_positions_that_are_not_finite_or_missing_are_left_out() -> None:
    joints, player = CommandedJoints(contract_of()), Told()
    joints.update(["shoulder", "elbow", "finger"], [math.nan, 0.2], 5 * S_NS)
    joints.update_player(player, LAYOUT)
    assert player.told == {1: (0.2, 5 * S_NS)}


def test_only_topics_that_tell_positions_of_commanded_joints_are_listened_to() -> None:
    contract = contract_of(
        state__gripper__topic="grip",
        state__gripper__field="velocity",
        action__gripper__unmeasured=True,
    )
    assert CommandedJoints(contract).interfaces.keys() == {"joint_states"}


def test_joints_that_are_not_commanded_in_position_are_not_measured() -> None:
    contract = contract_of(**TWIST)
    joints, player = CommandedJoints(contract), Told()
    joints.update(["shoulder", "finger"], [0.1, 0.3], S_NS)
    joints.update_player(player, ActionLayout({"arm": 6, "gripper": 1}))
    assert player.told == {6: (0.3, S_NS)}


def test_a_dead_stream_beside_a_living_one_stops_the_motion() -> None:
    contract = contract_of(state__gripper__topic="grip")
    joints, player = CommandedJoints(contract), make_player(contract, LAYOUT, {})
    joints.update(["shoulder", "elbow"], [0.0, 0.0], 0)
    joints.update(["finger"], [0.0], 2 * S_NS)
    joints.update_player(player, LAYOUT)
    rows = {"arm": np.zeros((9, 2)), "gripper": np.zeros((9, 1))}
    with pytest.raises(ChunkRefusedError, match=r"arm\[0\] is 2\.00 s old, the limit is 0\.5 s"):
        player.offer(Chunk(1, 2 * S_NS, 0.1, rows), 2 * S_NS)
