# SPDX-License-Identifier: Apache-2.0
"""The inputs of the networks, made from an observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gr00t_policy_core.models.common.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class VisionInputs:
    """The inputs of the backbone, on the device.

    Args:
        rows: Rows of the observation.
        batch_size: B, the padded number of rows; the other rows are copies of the last one.
        tokens: The tokens of the instructions and their images.
        videos: Camera frames or images, as `Runner.features` takes them.
    """

    rows: int
    batch_size: int
    tokens: TokenBatch
    videos: list[Tensor]


@dataclass(frozen=True, slots=True)
class DenoisingInputs:
    """The inputs of the action head besides the features, on the device.

    Args:
        state: Normalized states, (B, T, max_state_dim), in the dtype of the networks.
        noise: The start of denoising, (B, action_horizon, max_action_dim).
        velocity_scale: How much each step of the chunk may move, as `ActionHead.sample` takes it.
    """

    state: Tensor
    noise: Tensor
    velocity_scale: Tensor | None


def pad_rows(values: Tensor, rows: int, batch_size: int) -> Tensor:
    """Pad a batch with copies of its last row.

    Args:
        values: Any dtype, (rows · n, …): n entries of each row, row by row.
        rows: The number of rows in `values`.
        batch_size: The number of rows in the result.

    Returns:
        (batch_size · n, …); `values` itself where nothing is to be padded.
    """
    if batch_size == rows:
        return values
    each = len(values) // rows
    last = values[-each:].repeat(batch_size - rows, *[1] * (values.ndim - 1))
    return torch.cat([values, last])
