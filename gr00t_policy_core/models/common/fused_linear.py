# SPDX-License-Identifier: Apache-2.0
"""Linear layers with what follows them, in as few kernels as a device has for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common import triton_ops


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


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer."""
    if _has_kernel(layer, x):
        result: Tensor = triton_ops.linear(x, layer.weight, layer.bias, None, False)
    else:
        result = layer(x)
    return result


def linear_add(layer: nn.Linear, x: Tensor, residual: Tensor) -> Tensor:
    """A linear layer, added to `residual`; for few rows on a GPU as a part of its last kernel."""
    if _has_kernel(layer, x):
        result: Tensor = triton_ops.linear(x, layer.weight, layer.bias, residual, False)
        return result
    return torch.add(residual, layer(x))


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer with bias, followed by GELU in its tanh approximation.

    On a GPU both are one kernel: cuBLAS, too, applies that approximation as it writes the product.
    On a CPU torch's function of that name computes the exact GELU, so two kernels run there.
    """
    if _has_kernel(layer, x, gelu=True):
        result: Tensor = triton_ops.linear(x, layer.weight, layer.bias, None, True)
        return result
    if not x.is_cuda:
        return F.gelu(layer(x), approximate="tanh")
    rows = torch._addmm_activation(layer.bias, x.flatten(0, -2), layer.weight.T, use_gelu=True)
    return rows.unflatten(0, x.shape[:-1])


def _has_kernel(layer: nn.Linear, x: Tensor, gelu: bool = False) -> bool:
    rows, (columns, width) = x.shape[:-1].numel(), layer.weight.shape
    return triton_ops.suits(x) and triton_ops.has_linear(rows, columns, width, gelu)
