# SPDX-License-Identifier: Apache-2.0
"""What the networks read of an observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gr00t_policy_core.models.common.options import InferenceOptions
from gr00t_policy_core.models.common.token_batch import Tokens


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the networks read of an observation, on the device, filled up to a batch's size.

    Args:
        rows: Of the observation.
        tokens: Of the instructions.
        videos: As `Runner.features` takes them.
        state: (B, T, max_state_dim), normalised.
        noise: Where denoising begins, (B, action_horizon, max_action_dim).
        velocity_scale: As `ActionHead.sample` takes it.
        options: Of the call.
    """

    rows: int
    tokens: Tokens
    videos: list[Tensor]
    state: Tensor
    noise: Tensor
    velocity_scale: Tensor | None
    options: InferenceOptions


def filled(values: Tensor, rows: int, size: int) -> Tensor:
    """A batch of `rows` filled up to `size` with copies of its last row.

    Args:
        values: (rows · n, …), n entries of each row.
        rows: How many there are.
        size: How many there are to be.
    """
    if size == rows:
        return values
    each = len(values) // rows
    last = values[-each:].repeat(size - rows, *[1] * (values.ndim - 1))
    return torch.cat([values, last])
