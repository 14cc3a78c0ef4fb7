# SPDX-License-Identifier: Apache-2.0
"""States and actions: ROS messages to and from the arrays of a policy. Pure.

SI units and radians on the ROS side (REP-103), the policy's own units on the other: the contract's
scale and offset convert, on the way through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core import rotation
from gr00t_ros.contract.contract import ActionOutput, StateStream
from gr00t_ros.interfaces.geometry import pose_values

Values = NDArray[np.float64]


class ConversionError(ValueError):
    """A message that cannot become part of an observation; the message says which and why."""


def state_reader(stream: StateStream) -> Callable[[Any], NDArray[np.float32]]:
    """The function that makes float32 (D,) in the policy's units of one sample of the stream.

    A sample of joints is what a `JointBuffer` merged; any other is a message. It raises
    `ConversionError` for one that has another length, or carries a value that is not finite.
    """
    scale, offset = np.array(stream.scale), np.array(stream.offset)
    read: Callable[[Any], Values] = np.asarray if stream.joints else _array_values
    if stream.representation:
        read = _POSE_WRITERS[stream.representation]

    def values_of(message: Any) -> NDArray[np.float32]:
        values = read(message)
        _require_conversion(stream, len(values))
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            converted = (values * scale + offset).astype(np.float32)
        if not np.isfinite(converted).all():
            raise ConversionError(f"{stream.name}: values that are not finite: {values.tolist()}")
        return converted

    return values_of


def commands_from_actions(output: ActionOutput, values: NDArray[np.float32]) -> Values:
    """A chunk of one action key in the units and layout of its command.

    Args:
        output: The contract's entry for the key.
        values: float32 (horizon, D) in the policy's units.

    Returns:
        float64 (horizon, D) in SI units and rad; a pose is x y z and a quaternion x y z w whose
        sign is continuous over the horizon, so that steps can be interpolated linearly.

    Raises:
        ConversionError: The policy answered another number of values than the contract has.
    """
    if values.ndim != 2 or values.shape[1] != (output.dimension or values.shape[1]):
        raise ConversionError(
            f"{output.name}: the policy answered {values.shape[-1]} values per step, "
            f"the parameters give {output.dimension}"
        )
    _require_conversion(output, values.shape[1])
    commands = values.astype(np.float64) * np.array(output.scale) + np.array(output.offset)
    if output.interface != "pose_stamped":
        return np.asarray(commands)
    return _poses_as_quaternions(output, commands)


def _require_conversion(entry: StateStream | ActionOutput, dimension: int) -> None:
    """Numpy would stretch a lone value over several factors."""
    for name, values in (("scale", entry.scale), ("offset", entry.offset)):
        if len(values) not in (1, dimension):
            raise ConversionError(
                f"{entry.name}: {name} has {len(values)} values, expected 1 or {dimension}"
            )


def _array_values(message: Any) -> Values:
    if not len(message.data):
        raise ConversionError("the message has no values")
    return np.asarray(message.data, dtype=np.float64)


def _pose_with(rotation_values: Callable[[Values], Values]) -> Callable[[Any], Values]:
    def read(message: Any) -> Values:
        values = pose_values(message.pose)
        try:
            matrix = rotation.matrix_from_quaternion(values[3:])
        except ValueError as error:
            raise ConversionError(str(error)) from error
        return np.concatenate([values[:3], rotation_values(matrix)])

    return read


_POSE_WRITERS: dict[str, Callable[[Any], Values]] = {
    "xyz_rot6d": _pose_with(rotation.rot6d_from_matrix),
    "xyz_rotvec": _pose_with(
        lambda m: rotation.rotvec_from_quaternion(rotation.quaternion_from_matrix(m))
    ),
    "xyz_quat": _pose_with(rotation.quaternion_from_matrix),
}


def _poses_as_quaternions(output: ActionOutput, poses: Values) -> Values:
    xyz, rest = poses[:, :3], poses[:, 3:]
    try:
        if output.representation == "xyz_rotvec":
            quaternions = rotation.quaternion_from_rotvec(rest)
        elif output.representation == "xyz_rot6d":
            quaternions = rotation.quaternion_from_matrix(rotation.matrix_from_rot6d(rest))
        else:
            quaternions = rotation.quaternion_from_matrix(rotation.matrix_from_quaternion(rest))
    except ValueError as error:
        raise ConversionError(f"{output.name}: {error}") from error
    return np.concatenate([xyz, rotation.continuous_quaternions(quaternions)], axis=1)
