# SPDX-License-Identifier: Apache-2.0
"""Messages as chunks: their values go to the robot as they are, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nodes_for_tests import chunk_of
from numpy.testing import assert_array_equal
from policies_for_tests import parameters

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.chunk_reader import read_chunk

POSE = {
    "action__arm__type": "pose_stamped",
    "action__arm__representation": "xyz_rot6d",
    "action__arm__frame_id": "base_link",
    "action__arm__topic": "target_pose",
    "action__arm__joints": None,
    "action__arm__unmeasured": True,
}


def read(arm: np.ndarray, **changes: Any) -> Chunk:
    values = {"arm": arm, "gripper": np.zeros((len(arm), 1)), "wheels": np.zeros((len(arm), 4))}
    message = chunk_of(values, t0_ns=12_000_000_034, dt_s=0.05, chunk_id=3)
    return read_chunk(parse_contract(parameters(**changes)), message)


def test_values_come_through_to_the_last_bit_whatever_the_policys_units_are() -> None:
    arm = np.random.default_rng(3).normal(size=(16, 2))
    chunk = read(arm, action__arm__scale=0.0174, action__arm__offset=3.0)
    assert_array_equal(chunk.actions["arm"], arm)
    assert (chunk.chunk_id, chunk.t0_ns, chunk.dt_s) == (3, 12_000_000_034, 0.05)
    assert set(chunk.actions) == {"arm", "gripper"}


def test_a_pose_is_seven_values_whatever_the_policys_representation_is() -> None:
    poses = np.tile([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0], (4, 1))
    assert_array_equal(read(poses, **POSE).actions["arm"], poses)
    with pytest.raises(ChunkRefusedError, match="9 values per step, the parameters give 7"):
        read(np.zeros((4, 9)), **POSE)


def test_quaternions_of_another_publisher_are_made_continuous() -> None:
    poses = np.tile([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0], (4, 1))
    poses[2:, 3:] *= -1.0
    assert_array_equal(read(poses, **POSE).actions["arm"][:, 6], np.ones(4))


def test_a_quaternion_that_is_no_rotation_is_refused() -> None:
    poses = np.tile([0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0], (4, 1))
    poses[2, 3:] = 0.5, 0.0, 0.0, 0.0
    why = "chunk 3, action.arm: the quaternion of step 2 has length 0.5, expected 1"
    with pytest.raises(ChunkRefusedError, match=why):
        read(poses, **POSE)
    poses[1, 0] = np.nan
    with pytest.raises(ChunkRefusedError, match="a value of step 1 is not finite"):
        read(poses, **POSE)
