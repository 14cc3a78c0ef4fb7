# SPDX-License-Identifier: Apache-2.0
"""Action chunks as messages: the pipe between the two nodes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC as CHUNK_TOPIC
from gr00t_ros.interfaces.conversions import commands_from_actions
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.msg import ActionChunk, ActionValues


def chunk_message(
    contract: Contract,
    action: Mapping[str, Any],
    *,
    chunk_id: int,
    t0: Time,
    policy_time_s: float,
    source: str = "",
) -> ActionChunk:
    """The message of one answer: the contract's action keys, first row of the batch.

    Args:
        contract: Names the keys and the rate.
        action: float32 (B, horizon, D) by key, in the policy's units.
        chunk_id: Counts the answers from 1.
        t0: Stamp of the observation.
        policy_time_s: How long the answer took, s.
        source: The node run that publishes it.

    Raises:
        ConversionError: A key of the contract that the policy did not answer.
    """
    missing = [output.name for output in contract.action if output.key not in action]
    if missing:
        raise ConversionError(f"the policy did not answer {missing}, only {list(action)}")
    rows = {o.key: np.ascontiguousarray(action[o.key][0], np.float32) for o in contract.action}
    message = ActionChunk(
        chunk_id=chunk_id,
        dt=1.0 / contract.action_rate_hz,
        horizon=len(next(iter(rows.values()))),
        actions=[
            ActionValues(name=key, dimension=row.shape[1], values=array("f", row.tobytes()))
            for key, row in rows.items()
        ],
        policy_time_s=policy_time_s,
        source=source,
    )
    message.header.stamp = t0
    return message


def stop_message(*, chunk_id: int, now: Time, source: str = "") -> ActionChunk:
    """The message that ends what is being played: a chunk without steps."""
    message = ActionChunk(chunk_id=chunk_id, source=source)
    message.header.stamp = now
    return message


def is_stop(message: ActionChunk) -> bool:
    """Whether a message tells to stop playing."""
    return bool(message.horizon == 0)


def chunk_from_message(contract: Contract, message: ActionChunk) -> Chunk:
    """The chunk of a message, in the units and layout of the commands.

    Raises:
        ChunkRefusedError: Keys, sizes or values that must not move the robot.
    """
    arrays = {values.name: values for values in message.actions}
    actions = {}
    for output in contract.action:
        values = arrays.get(output.key)
        if values is None:
            raise ChunkRefusedError(
                f"chunk {message.chunk_id} lacks {output.name}, it has {list(arrays)}"
            )
        if len(values.values) != message.horizon * values.dimension or not values.dimension:
            raise ChunkRefusedError(
                f"chunk {message.chunk_id}, {output.name}: {len(values.values)} values are not "
                f"{message.horizon} steps of {values.dimension}"
            )
        rows = np.frombuffer(values.values, np.float32).reshape(message.horizon, values.dimension)
        _require_finite(message, output.key, rows)
        try:
            actions[output.key] = commands_from_actions(output, rows)
        except ConversionError as error:
            raise ChunkRefusedError(f"chunk {message.chunk_id}: {error}") from error
    stamp = message.header.stamp
    return Chunk(
        chunk_id=message.chunk_id,
        t0_ns=stamp.sec * 1_000_000_000 + stamp.nanosec,
        dt_s=message.dt,
        actions=actions,
    )


def _require_finite(message: ActionChunk, key: str, rows: Any) -> None:
    """Before any conversion: a rotation made of NaN would fail with a less clear error."""
    if not np.isfinite(rows).all():
        step = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise ChunkRefusedError(
            f"chunk {message.chunk_id}, {key}: a value of step {step} is not finite"
        )
