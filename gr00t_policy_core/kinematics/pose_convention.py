# SPDX-License-Identifier: Apache-2.0
"""Fixed rotations between the frames of a robot and those that a policy was trained with. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core import rotation

Array = NDArray[np.float64]

NO_ROTATION = (0.0, 0.0, 0.0, 1.0)


class PoseConvention:
    """The policy's pose is ``B · T · A``: `before` turns the base, `after` turns the tool.

    ``T`` is the pose of the tool in the base of the URDF. `before` is the rotation of the URDF's
    base in the policy's base: it turns position and orientation. `after` is the rotation of the
    policy's tool in the tool of the URDF: it turns the orientation alone.

    Args:
        before, after: Quaternions x y z w of any norm above zero.

    Raises:
        ValueError: A quaternion has norm zero.
    """

    def __init__(
        self, before: tuple[float, ...] = NO_ROTATION, after: tuple[float, ...] = NO_ROTATION
    ) -> None:
        self._before, self._after = _unit(before), _unit(after)

    def to_policy(self, poses: Array) -> Array:
        """Convert poses of the URDF's frames to the policy's, float64 (..., 7)."""
        return _turned(poses, self._before, self._after)

    def from_policy(self, poses: Array) -> Array:
        """Convert poses of the policy's frames to the URDF's, float64 (..., 7)."""
        return _turned(poses, _inverse(self._before), _inverse(self._after))


def _turned(poses: Array, before: Array, after: Array) -> Array:
    position = np.asarray(poses[..., :3]) @ rotation.matrix_from_quaternion(before).T
    turned = rotation.quaternion_product(before, rotation.quaternion_product(poses[..., 3:], after))
    return np.concatenate([position, turned], axis=-1)


def _inverse(quaternion: Array) -> Array:
    return np.asarray(quaternion * np.array([-1.0, -1.0, -1.0, 1.0]))


def _unit(quaternion: tuple[float, ...]) -> Array:
    matrix = rotation.matrix_from_quaternion(np.array(quaternion, dtype=np.float64))
    return rotation.quaternion_from_matrix(matrix)
