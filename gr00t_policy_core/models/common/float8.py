# SPDX-License-Identifier: Apache-2.0
"""Linear layers with weights in float8 (e4m3): half the bytes, and twice the products a second.

Weights have a scale for each output channel, activations one for each token, so that the largest
value of each becomes float8's largest. A layer may be float8 if the actions of every fixture then
stay within twice the error of bfloat16 (`test_models_float8.py`); all other layers are bfloat16.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.model import Model

NAME = "fp8"
LARGEST = 448.0  # of e4m3
TINY = 1e-12  # keeps a token of zeros from dividing by zero
MULTIPLE = 16  # of the widths that the tensor cores take
LEAST_CAPABILITY = (8, 9)  # Ada; Hopper is (9, 0)


class Float8Linear(nn.Module):
    """A linear layer in float8; on a CPU the same arithmetic, with sums in float32.

    Args:
        layer: The bfloat16 layer that this one replaces; its weights are rounded to float8.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, scale = to_float8(layer.weight)
        self.outputs: dict[str, int] = getattr(layer, "outputs", {})
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale.T.contiguous(), requires_grad=False)  # (1, outputs)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = to_float8(x.flatten(0, -2))
        if x.is_cuda:
            product = torch._scaled_mm(
                rows,
                self.weight.T,
                scale_a=scale,
                scale_b=self.scale,
                bias=self.bias,
                out_dtype=x.dtype,
                use_fast_accum=True,
            )
        else:
            product = (rows.float() @ self.weight.float().T) * scale * self.scale
            product = (product if self.bias is None else product + self.bias).to(x.dtype)
        return product.unflatten(0, x.shape[:-1])

    def split_outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """The output of each fused layer, as `FusedLinear.split_outputs` gives it."""
        apart: tuple[Tensor, ...] = self(x).split(list(self.outputs.values()), dim=-1)
        return apart


def to_float8(values: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, width) to float8 and the scale of each row, float32 (rows, 1)."""
    exact = values.float()
    scale = exact.abs().amax(-1, keepdim=True).clamp_min(TINY) / LARGEST
    return (exact / scale).to(torch.float8_e4m3fn), scale


def check_device(device: torch.device) -> None:
    """Raise `SpecError` for a GPU without float8."""
    if device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise SpecError(
            "bad dtype", [f"fp8 needs an Ada, Hopper or later GPU; {name} has no float8"]
        )


def use_float8(model: Model) -> int:
    """Convert the backbone's `float8_layers` to float8, in place; returns their number."""
    pattern = re.compile(model.backbone.float8_layers)
    network: nn.Module = model.backbone.network
    chosen = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
        and pattern.fullmatch(name)
        and not (layer.in_features % MULTIPLE or layer.out_features % MULTIPLE)
    ]
    with torch.inference_mode(False):
        for name, layer in chosen:
            parent, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(parent), attribute, Float8Linear(layer))
    return len(chosen)
