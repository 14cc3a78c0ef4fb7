# SPDX-License-Identifier: Apache-2.0
"""Rotations: known values, round trips between all forms, and the angles where formulas break."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core import rotation
from gr00t_policy_core.rotation import Array

# 90 degrees about z: x turns into y.
ABOUT_Z = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
ABOUT_Z_QUATERNION = np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])

AXES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [1, 1, 0], [0, -1, 1], [1, -2, 3]], dtype=float
)
ANGLES = (0.0, 1e-12, 1e-7, 1e-3, 1.0, np.pi / 2, 3.0, np.pi - 1e-9, np.pi)


def rotvecs() -> Array:
    units = AXES / np.linalg.norm(AXES, axis=1, keepdims=True)
    return np.concatenate([angle * units for angle in ANGLES])


def random_quaternions() -> Array:
    q = np.random.default_rng(3).normal(size=(200, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def assert_same_rotation(ours: Array, expected: Array) -> None:
    """q and -q are one rotation."""
    assert_allclose(np.abs(np.sum(ours * expected, axis=-1)), 1.0, atol=1e-12)


def test_a_quarter_turn_about_z_in_every_form() -> None:
    assert_allclose(rotation.matrix_from_quaternion(ABOUT_Z_QUATERNION), ABOUT_Z, atol=1e-15)
    assert_allclose(rotation.quaternion_from_matrix(ABOUT_Z), ABOUT_Z_QUATERNION, atol=1e-15)
    assert_allclose(
        rotation.rotvec_from_quaternion(ABOUT_Z_QUATERNION), [0, 0, np.pi / 2], atol=1e-15
    )
    assert_allclose(
        rotation.quaternion_from_rotvec(np.array([0, 0, np.pi / 2])), ABOUT_Z_QUATERNION, atol=1e-15
    )


def test_the_6d_form_is_the_first_two_rows() -> None:
    assert_allclose(rotation.rot6d_from_matrix(ABOUT_Z), [0, -1, 0, 1, 0, 0])
    assert_allclose(rotation.matrix_from_rot6d(np.array([0.0, -1, 0, 1, 0, 0])), ABOUT_Z)


def test_matrices_of_random_quaternions_are_rotations() -> None:
    m = rotation.matrix_from_quaternion(random_quaternions())
    assert_allclose(m @ np.swapaxes(m, -1, -2), np.broadcast_to(np.eye(3), m.shape), atol=1e-12)
    assert_allclose(np.linalg.det(m), 1.0, atol=1e-12)


def test_a_matrix_and_back_is_the_same_rotation() -> None:
    q = random_quaternions()
    assert_same_rotation(rotation.quaternion_from_matrix(rotation.matrix_from_quaternion(q)), q)


def test_half_turns_survive_the_matrix() -> None:
    """Where w is zero, the textbook formula divides by it."""
    half_turns = np.concatenate(
        [AXES / np.linalg.norm(AXES, axis=1, keepdims=True), np.zeros((len(AXES), 1))], axis=1
    )
    matrices = rotation.matrix_from_quaternion(half_turns)
    assert_same_rotation(rotation.quaternion_from_matrix(matrices), half_turns)


def test_a_rotation_vector_and_back_is_the_same_rotation_at_every_angle() -> None:
    q = rotation.quaternion_from_rotvec(rotvecs())
    assert_allclose(np.linalg.norm(q, axis=-1), 1.0, atol=1e-12)
    again = rotation.quaternion_from_rotvec(rotation.rotvec_from_quaternion(q))
    assert_same_rotation(again, q)


def test_small_rotation_vectors_keep_their_size() -> None:
    tiny = np.array([[1e-9, 0, 0], [0, -3e-10, 0], [0, 0, 2e-5]])
    again = rotation.rotvec_from_quaternion(rotation.quaternion_from_rotvec(tiny))
    assert_allclose(again, tiny, rtol=1e-6)


def test_the_angle_of_a_rotation_vector_is_at_most_pi() -> None:
    vectors = rotation.rotvec_from_quaternion(-random_quaternions())
    assert (np.linalg.norm(vectors, axis=-1) <= np.pi + 1e-12).all()


def test_the_6d_form_and_back_is_the_same_matrix() -> None:
    m = rotation.matrix_from_quaternion(random_quaternions())
    assert_allclose(rotation.matrix_from_rot6d(rotation.rot6d_from_matrix(m)), m, atol=1e-12)


def test_a_6d_form_that_a_network_made_becomes_orthonormal() -> None:
    rough = rotation.rot6d_from_matrix(ABOUT_Z) * 1.7 + 0.1
    m = rotation.matrix_from_rot6d(rough)
    assert_allclose(m @ m.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(m) == pytest.approx(1.0)
    assert_allclose(m[0], rough[:3] / np.linalg.norm(rough[:3]))


def test_quaternions_of_any_norm_serve() -> None:
    assert_allclose(rotation.matrix_from_quaternion(7.0 * ABOUT_Z_QUATERNION), ABOUT_Z, atol=1e-15)


def test_what_is_no_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match="norm 0"):
        rotation.matrix_from_quaternion(np.array([[0.0, 0, 0, 1], [0, 0, 0, 0]]))
    for rows in ([0.0] * 6, [1.0, 0, 0, 2, 0, 0]):
        with pytest.raises(ValueError, match="zero row or two parallel"):
            rotation.matrix_from_rot6d(np.array(rows))


def test_neighbouring_quaternions_are_brought_to_one_hemisphere() -> None:
    angles = np.linspace(0, 3 * np.pi, 40)
    smooth = np.stack([np.zeros(40), np.zeros(40), np.sin(angles / 2), np.cos(angles / 2)], axis=1)
    signs = np.where(np.random.default_rng(1).random(40) < 0.5, -1.0, 1.0)
    signs[0] = 1.0
    assert_allclose(rotation.continuous_quaternions(smooth * signs[:, None]), smooth)


def test_stacks_of_any_depth_are_taken() -> None:
    q = random_quaternions()[:6].reshape(2, 3, 4)
    m = rotation.matrix_from_quaternion(q)
    assert m.shape == (2, 3, 3, 3)
    assert rotation.rot6d_from_matrix(m).shape == (2, 3, 6)
    assert rotation.quaternion_from_matrix(m).shape == (2, 3, 4)
    assert_allclose(m[1, 2], rotation.matrix_from_quaternion(q[1, 2]))


def test_roll_pitch_and_yaw_turn_about_the_fixed_axes_in_this_order() -> None:
    roll, pitch, yaw = 0.3, -0.7, 2.1
    about_x = rotation.matrix_from_rpy(np.array([roll, 0.0, 0.0]))
    about_y = rotation.matrix_from_rpy(np.array([0.0, pitch, 0.0]))
    about_z = rotation.matrix_from_rpy(np.array([0.0, 0.0, yaw]))
    assert_allclose(rotation.matrix_from_rpy(np.array([0.0, 0.0, np.pi / 2])), ABOUT_Z, atol=1e-15)
    assert_allclose(about_x @ [0.0, 1.0, 0.0], [0.0, np.cos(roll), np.sin(roll)], atol=1e-15)
    assert_allclose(about_y @ [1.0, 0.0, 0.0], [np.cos(pitch), 0.0, -np.sin(pitch)], atol=1e-15)
    matrix = rotation.matrix_from_rpy(np.array([roll, pitch, yaw]))
    assert_allclose(matrix, about_z @ about_y @ about_x, atol=1e-15)
    assert_allclose(rotation.rpy_from_matrix(matrix), [roll, pitch, yaw], atol=1e-12)


def test_roll_pitch_and_yaw_of_any_rotation_give_it_back() -> None:
    matrices = rotation.matrix_from_quaternion(random_quaternions())
    rpy = rotation.rpy_from_matrix(matrices)
    assert (np.abs(rpy[:, 1]) <= np.pi / 2).all()
    assert_allclose(rotation.matrix_from_rpy(rpy), matrices, atol=1e-12)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_where_roll_and_yaw_are_one_yaw_is_zero(pitch: float) -> None:
    matrix = rotation.matrix_from_rpy(np.array([0.4, pitch, 1.1]))
    rpy = rotation.rpy_from_matrix(matrix)
    assert rpy[2] == 0.0
    assert_allclose(rotation.matrix_from_rpy(rpy), matrix, atol=1e-8)
