# SPDX-License-Identifier: Apache-2.0
"""Linear layers of one input as one matrix product: a GPU starts one kernel instead of several."""

from __future__ import annotations

from collections.abc import Mapping

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
