# SPDX-License-Identifier: Apache-2.0
"""Converts an answer of the policy to an `ActionChunk` message in SI units and radians."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from gr00t_policy_core.errors import PolicyError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.interfaces.command_path import ChunkStart, CommandPath
from gr00t_ros.interfaces.conversions import commands_from_actions
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.msg import ActionChunk, ActionValues
from gr00t_ros.policy.info_values import info_values

NO_INFO: Mapping[str, Any] = MappingProxyType({})
NO_POSITIONS: Mapping[str, float] = MappingProxyType({})


def command_paths(
    contract: Contract,
    action: Mapping[str, NDArray[np.float32]],
    positions: Mapping[str, float] = NO_POSITIONS,
) -> dict[str, CommandPath]:
    """The commands of one answer, by action of the contract: the first row of the batch.

    Args:
        contract: Names the action keys, their conversions and the action rate.
        action: float32 (B, horizon, D) by action key, in the policy's units.
        positions: The joints that the observation measured, by name, rad (or m).

    Raises:
        PolicyError: The answer lacks an action key, or its values are not finite, are not a
            rotation, are out of reach, or differ in number from the contract.
    """
    keys = [key for output in contract.action for key in output.keys]
    missing = [f"action.{key}" for key in dict.fromkeys(keys) if key not in action]
    if missing:
        raise PolicyError(f"the policy's answer lacks {missing}, it has {list(action)}")
    start = ChunkStart(positions, 1.0 / contract.action_rate_hz)
    return {output.key: _path(output, _values(output, action), start) for output in contract.action}


def chunk_message(
    contract: Contract,
    paths: Mapping[str, CommandPath],
    *,
    chunk_id: int,
    t0: Time,
    round_trip_s: float,
    source: str = "",
    control_source: str = "",
    instruction: str = "",
    info: Mapping[str, Any] = NO_INFO,
) -> ActionChunk:
    """The message of one answer, as long as its shortest path.

    Args:
        contract: Names the action rate.
        paths: The commands, by action of the contract.
        chunk_id: Number of the chunk, counted from 1.
        t0: Stamp of the observation that was answered.
        round_trip_s: Time from sending the observation to receiving the answer, s.
        source: The run of the policy node that publishes the chunk.
        control_source: The run of the control node that may play it; empty for any.
        instruction: What the policy was asked to do.
        info: What the policy returned beside the action.
    """
    horizon = min(len(path.values) for path in paths.values())
    rows = {
        key: np.ascontiguousarray(path.values[:horizon], np.float64) for key, path in paths.items()
    }
    message = ActionChunk(
        chunk_id=chunk_id,
        dt=1.0 / contract.action_rate_hz,
        horizon=horizon,
        actions=[
            ActionValues(name=key, dimension=values.shape[1], values=array("d", values.tobytes()))
            for key, values in rows.items()
        ],
        instruction=instruction,
        info=info_values(info),
        round_trip_s=round_trip_s,
        source=source,
        control_source=control_source,
    )
    message.header.stamp = t0
    return message


def stop_message(reason: str, *, chunk_id: int, now: Time, source: str = "") -> ActionChunk:
    """The message that asks the control node to stop playing.

    Args:
        reason: Why the control node has to stop, in one sentence.
        chunk_id: Number of the last chunk.
        now: Time of the request, its stamp.
        source: The run of the policy node that publishes the message.
    """
    message = ActionChunk(chunk_id=chunk_id, stop=True, stop_reason=reason, source=source)
    message.header.stamp = now
    return message


def _values(output: ActionOutput, action: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The policy's values of one action, (horizon, D): its keys side by side, or some of them."""
    parts = [action[key][0] for key in output.keys]
    shapes = {key: part.shape for key, part in zip(output.keys, parts, strict=True)}
    if any(part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
        raise PolicyError(f"{output.name}: the policy answered steps and values of {shapes}")
    values = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    beyond = [index for index in output.select if index >= values.shape[1]]
    if beyond:
        raise PolicyError(
            f"{output.name}: select has {beyond}, the policy answered {values.shape[1]} values per "
            "step"
        )
    return values[:, list(output.select)] if output.select else values


def _path(output: ActionOutput, values: NDArray[np.float32], start: ChunkStart) -> CommandPath:
    """The commands of one action, in SI units and radians."""
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0][0])
        raise PolicyError(
            f"the policy answered a value of {output.name} that is not finite, in step {step}"
        )
    try:
        return commands_from_actions(output, values, start)
    except ConversionError as error:
        raise PolicyError(str(error)) from error
