# SPDX-License-Identifier: Apache-2.0
"""Conversions between rotation representations; all functions take stacks (..., n).

Quaternions are (x, y, z, w) as in geometry_msgs. The 6D representation is the first two **rows** of
the rotation matrix, flattened, as in Isaac-GR00T. Zhou et al. (CVPR 2019) use columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALL_ANGLE_RAD = 1e-8
GIMBAL_LOCK = 1e-8  # cosine of the pitch below which roll and yaw are one


def matrix_from_quaternion(quaternion: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) of any norm above zero.

    Raises:
        ValueError: A quaternion has norm 0, as many drivers send before they know a pose.
    """
    norm = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    if not np.all(norm > 1e-9):
        value = f"{np.asarray(quaternion).reshape(-1, 4)[_first_zero(norm)]}{_step(norm)}"
        raise ValueError(f"a quaternion of norm 0 is not a rotation: {value}")
    x, y, z, w = np.moveaxis(quaternion / norm, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(matrix: Array) -> Array:
    """Unit quaternions (..., 4) of rotation matrices (..., 3, 3).

    It computes the largest of the four components first (Shepperd, 1978), so that it is precise at
    all angles.
    """
    m = np.asarray(matrix, dtype=np.float64)
    diagonal = np.diagonal(m, axis1=-2, axis2=-1)
    trace = diagonal.sum(axis=-1)
    # Row k holds 4 * q_k * (x, y, z, w); the row of the largest component is the best conditioned.
    x, y, z = np.moveaxis(diagonal, -1, 0)
    yz, xz, xy = (
        (m[..., 2, 1], m[..., 1, 2]),
        (m[..., 0, 2], m[..., 2, 0]),
        (m[..., 1, 0], m[..., 0, 1]),
    )
    table = np.stack(
        [
            np.stack([1 + x - y - z, xy[0] + xy[1], xz[0] + xz[1], yz[0] - yz[1]], axis=-1),
            np.stack([xy[0] + xy[1], 1 - x + y - z, yz[0] + yz[1], xz[0] - xz[1]], axis=-1),
            np.stack([xz[0] + xz[1], yz[0] + yz[1], 1 - x - y + z, xy[0] - xy[1]], axis=-1),
            np.stack([yz[0] - yz[1], xz[0] - xz[1], xy[0] - xy[1], 1 + trace], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(table, axis1=-2, axis2=-1), axis=-1)
    row = np.take_along_axis(table, best[..., None, None], axis=-2)[..., 0, :]
    return np.asarray(row / np.linalg.norm(row, axis=-1, keepdims=True))


def matrix_from_rot6d(rot6d: Array) -> Array:
    """Rotation matrices (..., 3, 3) of 6D representations (..., 6), by Gram-Schmidt.

    Raises:
        ValueError: A row is zero, or both rows are parallel.
    """
    first, second = rot6d[..., :3], rot6d[..., 3:]
    x = _unit(first)
    y = _unit(second - np.sum(x * second, axis=-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=-2)


def rot6d_from_matrix(matrix: Array) -> Array:
    """6D representations (..., 6) of rotation matrices (..., 3, 3): the first two rows."""
    m = np.asarray(matrix)
    return np.asarray(m[..., :2, :].reshape(*m.shape[:-2], 6))


def quaternion_from_rotvec(rotvec: Array) -> Array:
    """Unit quaternions (..., 4) of rotation vectors (..., 3), rad."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    safe = np.maximum(angle, SMALL_ANGLE_RAD)
    vector = np.where(angle > SMALL_ANGLE_RAD, np.sin(angle / 2) / safe, 0.5) * rotvec
    return np.concatenate([vector, np.cos(angle / 2)], axis=-1)


def rotvec_from_quaternion(quaternion: Array) -> Array:
    """Rotation vectors (..., 3), rad, of unit quaternions (..., 4); their norm is at most pi."""
    q = np.where(quaternion[..., 3:] < 0.0, -quaternion, quaternion)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., 3:])
    factor = np.where(sine > SMALL_ANGLE_RAD, angle / np.maximum(sine, SMALL_ANGLE_RAD), 2.0)
    return np.asarray(factor * q[..., :3])


def matrix_from_rpy(rpy: Array) -> Array:
    """Rotation matrices (..., 3, 3) of roll, pitch and yaw (..., 3), rad.

    They turn about the fixed axes x, y and z, in this order: R = Rz(yaw) Ry(pitch) Rx(roll), as in
    URDF (http://wiki.ros.org/urdf/XML/joint) and REP-103.
    """
    roll, pitch, yaw = np.moveaxis(np.asarray(rpy, dtype=np.float64), -1, 0)
    cr, sr = np.cos(roll), np.sin(roll)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cy, sy = np.cos(yaw), np.sin(yaw)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rpy_from_matrix(matrix: Array) -> Array:
    """Roll, pitch and yaw (..., 3), rad, of rotation matrices (..., 3, 3); see `matrix_from_rpy`.

    Roll and yaw are within ±pi, pitch within ±pi/2. At a pitch of ±pi/2, where only the sum or the
    difference of roll and yaw is a fact, yaw is zero.
    """
    m = np.asarray(matrix, dtype=np.float64)
    cosine = np.hypot(m[..., 0, 0], m[..., 1, 0])
    is_free = cosine > GIMBAL_LOCK
    pitch = np.arctan2(-m[..., 2, 0], cosine)
    roll = np.where(
        is_free,
        np.arctan2(m[..., 2, 1], m[..., 2, 2]),
        np.arctan2(-m[..., 1, 2], m[..., 1, 1]),
    )
    yaw = np.where(is_free, np.arctan2(m[..., 1, 0], m[..., 0, 0]), 0.0)
    return np.stack([roll, pitch, yaw], axis=-1)


def quaternion_product(left: Array, right: Array) -> Array:
    """Products (..., 4) of quaternions: the rotation `right` followed by the rotation `left`."""
    x1, y1, z1, w1 = np.moveaxis(left, -1, 0)
    x2, y2, z2, w2 = np.moveaxis(right, -1, 0)
    return np.stack(
        [
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
        ],
        axis=-1,
    )


def continuous_quaternions(quaternions: Array) -> Array:
    """The same rotations (H, 4), with signs that keep neighbors in one hemisphere.

    q and -q are the same rotation, but interpolation between them turns the long way.
    """
    dots = np.sum(quaternions[1:] * quaternions[:-1], axis=-1)
    signs = np.cumprod(np.concatenate([[1.0], np.where(dots < 0.0, -1.0, 1.0)]))
    return np.asarray(quaternions * signs[:, None])


def _unit(vector: Array) -> Array:
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    if not np.all(norm > 1e-9):
        raise ValueError(f"a 6D rotation has a zero row or two parallel rows{_step(norm)}")
    return np.asarray(vector / norm)


def _first_zero(norm: Array) -> int:
    """The number of the first rotation whose norm, float64 (..., 1), is 0."""
    return int(np.argmin(norm.reshape(-1) > 1e-9))


def _step(norm: Array) -> str:
    """Say which of several rotations it is; empty for a single one."""
    return f", in step {_first_zero(norm)}" if norm.ndim > 1 else ""
