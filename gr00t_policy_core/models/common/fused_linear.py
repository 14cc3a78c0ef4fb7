# SPDX-License-Identifier: Apache-2.0
"""Fused linear layers: several with one input, or one with GELU, in a single kernel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FusedLinear(nn.Linear):
    """Several linear layers with one input, computed as one.

    Args:
        input_dim: Width of the common input.
        outputs: The output width of each layer, by its name in a checkpoint relative to the module
            that contains this one.
        bias: Whether the layers have a bias.
    """

    def __init__(self, input_dim: int, outputs: Mapping[str, int], bias: bool = True) -> None:
        super().__init__(input_dim, sum(outputs.values()), bias)
        self.outputs = dict(outputs)

    def split_outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """(..., input_dim) to the output of each layer, in order: views of one tensor."""
        parts: tuple[Tensor, ...] = self(x).split(list(self.outputs.values()), dim=-1)
        return parts


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer with bias, followed by GELU in its tanh approximation.

    On a GPU both are one kernel: cuBLAS applies that approximation as it writes the product. On a
    CPU torch's function of that name computes the exact GELU, so two kernels run there.
    """
    if not x.is_cuda:
        return F.gelu(layer(x), approximate="tanh")
    rows = torch._addmm_activation(layer.bias, x.flatten(0, -2), layer.weight.T, use_gelu=True)
    return rows.unflatten(0, x.shape[:-1])
