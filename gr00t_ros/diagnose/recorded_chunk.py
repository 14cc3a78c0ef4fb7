# SPDX-License-Identifier: Apache-2.0
"""Reads a chunk of a bag as the control node reads it, without the robot's file."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_ros.diagnose.run import RunChunk
from gr00t_ros.msg import ActionChunk, ActionValues


def read_run_chunk(message: ActionChunk, received_s: float, width: int) -> RunChunk:
    """Read a chunk that is not a stop.

    Args:
        message: The message.
        received_s: When it was received, s.
        width: The number of commanded values.

    Raises:
        ChunkRefusedError: No robot plays it: its sizes, its `dt` or a value is wrong.
    """
    stamp = message.header.stamp
    chunk = Chunk(
        chunk_id=message.chunk_id,
        t0_ns=stamp.sec * 1_000_000_000 + stamp.nanosec,
        dt_s=message.dt,
        actions={values.name: _rows(message, values) for values in message.actions},
    )
    values = np.concatenate(list(chunk.actions.values()), axis=1)
    if values.shape[1] != width:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id} has {values.shape[1]} values, the robot {width}"
        )
    return RunChunk(
        chunk_id=chunk.chunk_id,
        t0_s=chunk.t0_ns * 1e-9,
        received_s=received_s,
        dt_s=chunk.dt_s,
        values=values,
        round_trip_s=message.round_trip_s,
    )


def _rows(message: ActionChunk, values: ActionValues) -> Row:
    """Float64 (horizon, D) of one action key."""
    if len(values.values) != message.horizon * values.dimension:
        raise ChunkRefusedError(
            f"chunk {message.chunk_id}, {values.name}: {len(values.values)} values are not "
            f"{message.horizon} steps of {values.dimension}"
        )
    return np.array(values.values, np.float64).reshape(message.horizon, values.dimension)
