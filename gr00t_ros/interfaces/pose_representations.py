# SPDX-License-Identifier: Apache-2.0
"""The representations of a pose in policies: a position, and one of several rotations. Pure.

``xyz_rpy`` is roll, pitch and yaw about the fixed axes x, y and z, in this order: R = Rz Ry Rx. It
is the convention of URDF (http://wiki.ros.org/urdf/XML/joint, ``rpy``) and of REP-103.
"""

from __future__ import annotations

import numpy as np

from gr00t_policy_core import rotation
from gr00t_ros.interfaces.interface import ConversionError, Values

DIMENSIONS = {"xyz_rot6d": 9, "xyz_rotvec": 6, "xyz_quat": 7, "xyz_rpy": 6}
FORMS = (
    "rot6d: first two rows of the rotation matrix, rotvec: rotation vector in rad, quat: x y z w, "
    "rpy: roll pitch yaw in rad about fixed axes, as in URDF"
)


def represented(pose: Values, representation: str) -> Values:
    """Convert a pose to the policy's representation, float64 (D,).

    Args:
        pose: float64 (7,), x y z (m) and a quaternion x y z w of any norm above zero.
        representation: How the policy writes a pose, a key of `DIMENSIONS`.

    Raises:
        ConversionError: The quaternion has norm zero.
    """
    try:
        matrix = rotation.matrix_from_quaternion(pose[3:])
    except ValueError as error:
        raise ConversionError(str(error)) from error
    return np.concatenate([pose[:3], _from_matrix(matrix, representation)])


def poses_as_quaternions(poses: Values, representation: str) -> Values:
    """Convert poses of a policy to poses with unit quaternions, float64 (horizon, 7).

    The sign of the quaternions is continuous over the horizon, so that steps can be interpolated
    linearly.

    Args:
        poses: float64 (horizon, D), positions in m.
        representation: How the policy writes a pose, a key of `DIMENSIONS`.

    Raises:
        ConversionError: A rotation matrix or a quaternion has length zero.
    """
    try:
        quaternions = _as_quaternions(poses[:, 3:], representation)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    return np.concatenate([poses[:, :3], rotation.continuous_quaternions(quaternions)], axis=1)


def _from_matrix(matrix: Values, representation: str) -> Values:
    if representation == "xyz_rot6d":
        return rotation.rot6d_from_matrix(matrix)
    if representation == "xyz_rpy":
        return rotation.rpy_from_matrix(matrix)
    quaternion = rotation.quaternion_from_matrix(matrix)
    if representation == "xyz_rotvec":
        return rotation.rotvec_from_quaternion(quaternion)
    return quaternion


def _as_quaternions(rotations: Values, representation: str) -> Values:
    if representation == "xyz_rotvec":
        return rotation.quaternion_from_rotvec(rotations)
    if representation == "xyz_rot6d":
        matrix = rotation.matrix_from_rot6d(rotations)
    elif representation == "xyz_rpy":
        matrix = rotation.matrix_from_rpy(rotations)
    else:
        matrix = rotation.matrix_from_quaternion(rotations)
    return rotation.quaternion_from_matrix(matrix)
