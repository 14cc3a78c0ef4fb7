# SPDX-License-Identifier: Apache-2.0
"""Converts RELATIVE actions, which refer to the last state, to absolute ones and back.

Joint values are added. Poses are composed: T_absolute = T_reference · T_relative, as in
Isaac-GR00T.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core import rotation
from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.modality import ActionConfig, ActionFormat, ActionType

Array = NDArray[Any]

POSE_DIMS = {ActionFormat.XYZ_ROT6D: 9, ActionFormat.XYZ_ROTVEC: 6}


def format_problem(config: ActionConfig, dim: int) -> str | None:
    """Why values of this action config and dimension cannot be converted; None if they can."""
    if config.type is ActionType.NON_EEF:
        supported = config.format is ActionFormat.DEFAULT
        return None if supported else f"{config.format.name} is for type EEF, got NON_EEF"
    expected = POSE_DIMS.get(config.format)
    if expected is None:
        names = [pose_format.name for pose_format in POSE_DIMS]
        return f"a relative end effector must have one of the formats {names}, got DEFAULT"
    if dim != expected:
        return f"{config.format.name} has {expected} values, its statistics have {dim}"
    return None


def reference_problem(reference: Array, config: ActionConfig) -> str | None:
    """Why poses (..., D) cannot be a reference; None if they can."""
    if config.format is not ActionFormat.XYZ_ROT6D:
        return None
    try:
        rotation.matrix_from_rot6d(reference[..., 3:].astype(np.float64))
    except ValueError as error:
        return f"its last 6 values must be the first two rows of a rotation matrix: {error}"
    return None


def to_absolute(values: Array, reference: Array, config: ActionConfig) -> Array:
    """Convert relative actions to absolute ones.

    Args:
        values: Relative actions, (B, T, D).
        reference: The states that they refer to, (B, D).
        config: The type and format of the values.

    Raises:
        PolicyError: A 6D rotation has a zero row or two parallel rows.
    """
    reference = reference[:, None, :].astype(np.float64)
    if config.type is ActionType.NON_EEF:
        return np.asarray(reference + values)
    position, turn = _pose(reference, config.format)
    offset, relative_turn = _pose(values, config.format)
    moved = position + np.einsum("...ij,...j->...i", turn, offset)
    return _values(moved, turn @ relative_turn, config.format)


def to_relative(values: Array, reference: Array, config: ActionConfig) -> Array:
    """Convert absolute actions to relative ones: T_relative = T_reference⁻¹ · T_absolute."""
    reference = reference[:, None, :].astype(np.float64)
    if config.type is ActionType.NON_EEF:
        return np.asarray(values - reference)
    position, turn = _pose(reference, config.format)
    target, target_turn = _pose(values, config.format)
    back = np.swapaxes(turn, -1, -2)
    offset = np.einsum("...ij,...j->...i", back, target - position)
    return _values(offset, back @ target_turn, config.format)


def _pose(values: Array, pose_format: ActionFormat) -> tuple[Array, Array]:
    """Positions (..., 3) and rotation matrices (..., 3, 3)."""
    position, turn = values[..., :3].astype(np.float64), values[..., 3:].astype(np.float64)
    if pose_format is ActionFormat.XYZ_ROTVEC:
        return position, rotation.matrix_from_quaternion(rotation.quaternion_from_rotvec(turn))
    try:
        return position, rotation.matrix_from_rot6d(turn)
    except ValueError as error:
        raise PolicyError(f"the pose has an invalid rotation: {error}") from error


def _values(position: Array, turn: Array, pose_format: ActionFormat) -> Array:
    if pose_format is ActionFormat.XYZ_ROTVEC:
        angles = rotation.rotvec_from_quaternion(rotation.quaternion_from_matrix(turn))
    else:
        angles = rotation.rot6d_from_matrix(turn)
    position = np.broadcast_to(position, (*angles.shape[:-1], 3))
    return np.concatenate([position, angles], axis=-1)
