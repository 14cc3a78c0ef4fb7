# SPDX-License-Identifier: Apache-2.0
"""The frames of a policy and of a URDF, and DROID's in particular."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core import rotation
from gr00t_policy_core.kinematics.pose_convention import PoseConvention

# docs/how-to/end-effectors.md says where these numbers come from.
DROID_AFTER = (0.5, -0.5, -0.5, 0.5)
DROID_CORRECTION = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def pose(position: list[float], matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([position, rotation.quaternion_from_matrix(matrix)])


def test_before_turns_the_base_and_after_the_tool_alone() -> None:
    quarter = tuple(rotation.quaternion_from_rotvec(np.array([0.0, 0.0, np.pi / 2])))
    flange = pose([1.0, 0.0, 0.5], np.identity(3))
    turned = PoseConvention(before=quarter).to_policy(flange)
    assert_allclose(turned[:3], [0.0, 1.0, 0.5], atol=1e-12)
    assert_allclose(rotation.matrix_from_quaternion(turned[3:])[0], [0.0, -1.0, 0.0], atol=1e-12)
    after = PoseConvention(after=quarter).to_policy(flange)
    assert_allclose(after[:3], flange[:3])
    assert_allclose(after[3:], turned[3:], atol=1e-12)


def test_what_is_turned_is_turned_back() -> None:
    random = np.random.default_rng(5)
    poses = random.normal(size=(20, 7))
    poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
    convention = PoseConvention((0.1, 0.2, 0.3, 0.9), (0.0, -2.0, 0.5, 1.0))
    assert_allclose(convention.from_policy(convention.to_policy(poses)), poses, atol=1e-12)


def test_a_rotation_of_norm_0_is_refused() -> None:
    with pytest.raises(ValueError, match="norm 0"):
        PoseConvention(before=(0.0, 0.0, 0.0, 0.0))


def test_the_correction_of_droid_is_the_quaternion_that_the_page_gives() -> None:
    assert_allclose(
        rotation.matrix_from_quaternion(np.array(DROID_AFTER)), DROID_CORRECTION, atol=1e-12
    )


@pytest.mark.parametrize("rpy", [(3.0, -0.1, 0.2), (-2.9, 0.3, -1.1), (0.4, 1.2, 2.5)])
def test_droids_euler_angles_become_the_eef_9d_of_the_checkpoint(rpy: tuple[float, ...]) -> None:
    """R = Rz Ry Rx of DROID's angles, times the correction; its first two rows are rot6d."""
    roll, pitch, yaw = rpy
    cos, sin = np.cos, np.sin
    x = np.array([[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]])
    y = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    z = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    expected = (z @ y @ x @ DROID_CORRECTION)[:2].ravel()

    matrix = rotation.matrix_from_rpy(np.array(rpy))
    policy = PoseConvention(after=DROID_AFTER).to_policy(pose([0.4, 0.0, 0.3], matrix))

    found = rotation.rot6d_from_matrix(rotation.matrix_from_quaternion(policy[3:]))
    assert_allclose(found, expected, atol=1e-12)
