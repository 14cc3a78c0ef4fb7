# SPDX-License-Identifier: Apache-2.0
"""Converts an `ActionChunk` message to a chunk that the player accepts."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core import rotation
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.msg import ActionChunk, ActionValues

# A quaternion whose length differs from 1 by more than this is not a rounded rotation.
UNIT_TOLERANCE = 1e-3


def read_chunk(contract: Contract, message: ActionChunk) -> Chunk:
    """Read the chunk of a message that is not a stop; keys that the robot lacks are left out.

    Args:
        contract: Names the action keys of the robot.
        message: Values in SI units and radians.

    Raises:
        ChunkRefusedError: The keys, sizes or values must not move the robot.
    """
    values_by_key = {values.name: values for values in message.actions}
    actions = {}
    for output in contract.action:
        values = values_by_key.get(output.key)
        if values is None:
            raise ChunkRefusedError(
                f"chunk {message.chunk_id} lacks {output.name}, it has {list(values_by_key)}"
            )
        actions[output.key] = _rows(message, output, values)
    stamp = message.header.stamp
    return Chunk(
        chunk_id=message.chunk_id,
        t0_ns=stamp.sec * 1_000_000_000 + stamp.nanosec,
        dt_s=message.dt,
        actions=actions,
    )


def _rows(message: ActionChunk, output: ActionOutput, values: ActionValues) -> Row:
    """Float64 (horizon, D) of one action key."""
    what = f"chunk {message.chunk_id}, {output.name}"
    if len(values.values) != message.horizon * values.dimension or not values.dimension:
        raise ChunkRefusedError(
            f"{what}: {len(values.values)} values are not {message.horizon} steps of "
            f"{values.dimension}"
        )
    expected = output.interface.command_dimension
    if expected is not None and values.dimension != expected:
        raise ChunkRefusedError(
            f"{what}: {values.dimension} values per step, the parameters give {expected}"
        )
    rows = np.array(values.values, np.float64).reshape(message.horizon, values.dimension)
    if output.interface.commands_pose:
        return _with_continuous_rotations(what, rows)
    return rows


def _with_continuous_rotations(what: str, poses: Row) -> Row:
    """Poses float64 (horizon, 7) whose quaternions do not flip their sign from step to step."""
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    is_unit = np.abs(lengths - 1.0) <= UNIT_TOLERANCE
    if np.isfinite(poses).all() and not is_unit.all():  # `Chunk` names a value that is not finite
        step = int(np.argmin(is_unit))
        raise ChunkRefusedError(
            f"{what}: the quaternion of step {step} has length {lengths[step]:.4g}, expected 1"
        )
    quaternions = rotation.continuous_quaternions(poses[:, 3:])
    return np.concatenate([poses[:, :3], quaternions], axis=1)
