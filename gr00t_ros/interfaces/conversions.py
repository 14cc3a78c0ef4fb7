# SPDX-License-Identifier: Apache-2.0
"""Converts between the robot's units and the policy's: states in, actions out. Pure.

SI units and radians on the ROS side (REP-103), the policy's own units on the other. What a message
holds is up to its interface; scale and offset of the contract convert units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_ros.contract.streams import ActionOutput, StateStream
from gr00t_ros.interfaces.command_path import ChunkStart, CommandPath
from gr00t_ros.interfaces.interface import ConversionError, Values


def state_reader(stream: StateStream) -> Callable[[Any], NDArray[np.float32]]:
    """Return a function that converts a sample of the stream to float32 (D,) in the policy's units.

    A sample is what the buffer of the stream's interface holds, as a rule a message. The function
    raises `ConversionError` for one that has another length, or carries a value that is not finite.
    """
    scale, offset = np.array(stream.scale), np.array(stream.offset)
    select = list(stream.select)

    def values_of(message: Any) -> NDArray[np.float32]:
        values = _read(stream, message)
        if select:
            _require_selected(stream, len(values))
            values = values[select]
        _require_conversion(stream, len(values))
        with np.errstate(over="ignore"):  # a value beyond float32 is refused below
            converted = (values * scale + offset).astype(np.float32)
        if not np.isfinite(converted).all():
            raise ConversionError(f"{stream.name}: values that are not finite: {values.tolist()}")
        return converted

    return values_of


def commands_from_actions(
    output: ActionOutput, values: NDArray[np.float32], start: ChunkStart
) -> CommandPath:
    """Convert a chunk of one action to the units and layout of its command.

    Args:
        output: The contract's entry for the action.
        values: float32 (horizon, D) in the policy's units.
        start: The measured joints where the chunk begins, and its step.

    Returns:
        float64 (horizon, D) in SI units and rad; a pose is x y z and a quaternion x y z w whose
        sign is continuous over the horizon, so that steps can be interpolated linearly.

    Raises:
        ConversionError: The number of values differs from the contract, or they are not valid,
            such as a rotation of length zero, or a pose that is out of reach.
    """
    if values.ndim != 2 or values.shape[1] != (output.dimension or values.shape[1]):
        raise ConversionError(
            f"{output.name}: the policy answered {values.shape[-1]} values per step, "
            f"the parameters give {output.dimension}"
        )
    _require_conversion(output, values.shape[1])
    converted = values.astype(np.float64) * np.array(output.scale) + np.array(output.offset)
    try:
        return output.interface.path(converted, start)
    except ConversionError as error:
        raise ConversionError(f"{output.name}: {error}") from error


def action_from_command(output: ActionOutput, values: Values) -> NDArray[np.float32]:
    """Convert a command to the policy's units and layout: the opposite of `commands_from_actions`.

    Args:
        output: The contract's entry for the key.
        values: float64 in SI units and rad, as `CommandInterface.read` returns them.

    Returns:
        float32 (D,).

    Raises:
        ConversionError: The number of values differs from the contract, a value is not finite, or
            the contract's scale is zero.
    """
    values = output.interface.policy_values(values)
    if len(values) != (output.dimension or len(values)):
        raise ConversionError(
            f"{output.name}: {len(values)} values, the parameters give {output.dimension}"
        )
    _require_conversion(output, len(values))
    scale = np.array(output.scale)
    if not scale.all():
        raise ConversionError(f"{output.name}: scale is 0, so no action can be found for a command")
    converted = ((values - np.array(output.offset)) / scale).astype(np.float32)
    if not np.isfinite(converted).all():
        raise ConversionError(f"{output.name}: values that are not finite: {values.tolist()}")
    return converted


def _read(stream: StateStream, message: Any) -> Values:
    """Read a message by the interface, and check the result against the declared dimension."""
    values = np.asarray(stream.interface.read(message), dtype=np.float64)
    expected = stream.interface.dimension
    if values.ndim != 1 or len(values) != (expected or len(values)):
        raise ConversionError(
            f"{stream.name}: {stream.type} reads values of shape {values.shape}, its dimension is "
            f"{expected}"
        )
    return values


def _require_selected(stream: StateStream, size: int) -> None:
    beyond = [index for index in stream.select if index >= size]
    if beyond:
        raise ConversionError(f"{stream.name}: select has {beyond}, the message has {size} values")


def _require_conversion(entry: StateStream | ActionOutput, dimension: int) -> None:
    """Check the number of factors: numpy would broadcast a lone value over several of them."""
    for name, values in (("scale", entry.scale), ("offset", entry.offset)):
        if len(values) not in (1, dimension):
            raise ConversionError(
                f"{entry.name}: {name} has {len(values)} values, expected 1 or {dimension}"
            )
