# SPDX-License-Identifier: Apache-2.0
"""Answers of the policy as messages: SI units, radians and quaternions, whatever it works in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from numpy.testing import assert_allclose
from policies_for_tests import parameters
from rclpy.serialization import deserialize_message, serialize_message

from gr00t_policy_core import rotation
from gr00t_policy_core.errors import PolicyError
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.msg import ActionChunk
from gr00t_ros.policy.chunk_writer import chunk_message, command_paths, stop_message

RAD_PER_DEG = math.pi / 180.0
HORIZON = 4


def written(arm: np.ndarray, **changes: Any) -> ActionChunk:
    """The message of an answer (horizon, D) for the arm, as a bag or a subscriber reads it."""
    action = {"arm": arm[None].astype(np.float32), "gripper": np.zeros((1, len(arm), 1))}
    contract = parse_contract(parameters(**changes))
    paths = command_paths(contract, action)
    message = chunk_message(
        contract, paths, chunk_id=7, t0=Time(sec=12), round_trip_s=0.125, source="/policy_node#1"
    )
    read = deserialize_message(serialize_message(message), ActionChunk)
    assert read == message
    return read


def values_of(message: ActionChunk) -> np.ndarray:
    (arm,) = [action for action in message.actions if action.name == "arm"]
    return np.array(arm.values).reshape(message.horizon, arm.dimension)


def pose_changes(representation: str) -> dict[str, Any]:
    return {
        "action__arm__type": "pose_stamped",
        "action__arm__representation": representation,
        "action__arm__frame_id": "base_link",
        "action__arm__topic": "target_pose",
        "action__arm__joints": None,
        "action__arm__unmeasured": True,
    }


def test_the_chunk_of_a_policy_in_degrees_reads_in_radians() -> None:
    degrees = np.array([[90.0, -45.0]] * HORIZON)
    values = values_of(written(degrees, action__arm__scale=RAD_PER_DEG))
    assert values.dtype == np.float64
    assert_allclose(values, [[math.pi / 2, -math.pi / 4]] * HORIZON, rtol=1e-12)


def test_scale_and_offset_are_applied_per_joint() -> None:
    values = values_of(
        written(
            np.full((2, 2), 2.0), action__arm__scale=[0.5, 2.0], action__arm__offset=[1.0, -1.0]
        )
    )
    assert_allclose(values, [[2.0, 3.0]] * 2)


def test_a_policy_in_rot6d_publishes_quaternions() -> None:
    angles = np.linspace(0.0, 3.0, HORIZON)
    quaternions = rotation.quaternion_from_rotvec(np.stack([0 * angles, 0 * angles, angles], 1))
    rot6d = np.stack(
        [rotation.rot6d_from_matrix(rotation.matrix_from_quaternion(q)) for q in quaternions]
    )
    poses = np.concatenate([np.full((HORIZON, 3), 0.25), rot6d], axis=1)
    values = values_of(written(poses, **pose_changes("xyz_rot6d")))
    assert values.shape == (HORIZON, 7)
    assert_allclose(values[:, :3], 0.25)
    assert_allclose(np.linalg.norm(values[:, 3:], axis=1), 1.0, rtol=1e-12)
    expected = [[0.0, 0.0, math.sin(a / 2), math.cos(a / 2)] for a in angles]
    assert_allclose(np.abs(values[:, 3:]), np.abs(expected), atol=1e-6)


def test_the_sign_of_a_quaternion_does_not_flip_within_a_chunk() -> None:
    flipping = np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], (HORIZON, 1))
    flipping[1::2, 3:] *= -1.0
    quaternions = values_of(written(flipping, **pose_changes("xyz_quat")))[:, 3:]
    assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) > 0.0).all()


def test_the_message_tells_its_time_and_origin() -> None:
    message = written(np.zeros((HORIZON, 2)))
    assert (message.chunk_id, message.horizon, message.stop) == (7, HORIZON, False)
    assert message.header.stamp == Time(sec=12)
    assert message.dt == pytest.approx(0.05)
    assert (message.round_trip_s, message.source) == (0.125, "/policy_node#1")


@pytest.mark.parametrize(
    ("arm", "changes", "why"),
    [
        (np.full((2, 2), np.nan), {}, "action.arm that is not finite, in step 0"),
        (np.zeros((2, 3)), {}, "answered 3 values per step"),
        (np.zeros((2, 9)), pose_changes("xyz_rot6d"), "action.arm: a 6D rotation has a zero row"),
    ],
)
def test_an_answer_that_is_no_command_is_not_written(
    arm: np.ndarray, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(PolicyError, match=why):
        written(arm, **changes)


def test_an_answer_without_an_action_key_is_not_written() -> None:
    contract = parse_contract(parameters())
    with pytest.raises(PolicyError, match=r"answer lacks \['action.gripper'\], it has \['arm'\]"):
        command_paths(contract, {"arm": np.zeros((1, 2, 2), np.float32)})


def test_a_stop_says_why_and_has_no_steps() -> None:
    message = stop_message("~/stop was called", chunk_id=3, now=Time(sec=5), source="/p#1")
    assert message.stop
    assert (message.stop_reason, message.chunk_id) == ("~/stop was called", 3)
    assert (message.horizon, list(message.actions)) == (0, [])
    assert message.header.stamp.sec == 5
