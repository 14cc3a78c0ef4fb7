# SPDX-License-Identifier: Apache-2.0
"""Linear layers with what goes with them in one kernel: several of one input, or with GELU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FusedLinear(nn.Linear):
    """Several linear layers side by side.

    Args:
        input_dim: Width of what all of them read.
        outputs: By the name of each in a checkpoint, beside this module: its width.
        bias: Whether they have one.
    """

    def __init__(self, input_dim: int, outputs: Mapping[str, int], bias: bool = True) -> None:
        super().__init__(input_dim, sum(outputs.values()), bias)
        self.outputs = dict(outputs)

    def apart(self, x: Tensor) -> tuple[Tensor, ...]:
        """(..., input_dim) to what each layer gives, in order: views of one tensor."""
        apart: tuple[Tensor, ...] = self(x).split(list(self.outputs.values()), dim=-1)
        return apart


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer with bias, and GELU in its tanh approximation.

    On a GPU both are one kernel: cuBLAS computes that approximation as it writes the product. (On
    a CPU torch's function of that name computes the exact GELU.)
    """
    if not x.is_cuda:
        return F.gelu(layer(x), approximate="tanh")
    rows = torch._addmm_activation(layer.bias, x.flatten(0, -2), layer.weight.T, use_gelu=True)
    return rows.unflatten(0, x.shape[:-1])
