# SPDX-License-Identifier: Apache-2.0
"""Operators of transformer blocks as single Triton kernels, for few rows on a GPU.

One robot's action tokens are 41 rows. Then a matrix product takes about as long as reading its
weights, and starting a kernel and waiting for the one before costs as much again. These kernels do
the work of two or three each. On Hopper and later a kernel starts while the one before still runs,
and loads its weights meanwhile (programmatic dependent launch).
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

ENABLED = importlib.util.find_spec("triton") is not None and os.environ.get("GR00T_TRITON") != "0"
DTYPES = (torch.bfloat16, torch.float16)
MAX_KEYS = 256  # of attention, which has all of them in registers
MAX_HEAD_DIM = 128
OVERLAP_CAPABILITY = (9, 0)  # Hopper


@dataclass(frozen=True, slots=True)
class Blocks:
    """The part of a product that one program computes, and how.

    Args:
        rows: Rows of the input.
        columns: Columns of the output.
        depth: Columns of the input that are loaded at once.
        stages: Loads in flight.
        warps: Warps of a program.
    """

    rows: int
    columns: int
    depth: int
    stages: int
    warps: int = 4


def linear_blocks(rows: int, columns: int, width: int) -> Blocks | None:
    """The fastest `Blocks` for a product; None where cuBLAS is faster (both measured)."""
    if rows > int(os.environ.get("GR00T_TRITON_ROWS", "64")):
        return None
    if columns >= 4096:
        blocks = Blocks(64, 32, 128, 4)
    else:
        blocks = Blocks(64, 16, 128, 6)
    if columns % blocks.columns or width % blocks.depth:
        return None
    return blocks


def suits(x: Tensor) -> bool:
    """Whether kernels exist for a tensor's device and dtype."""
    return ENABLED and x.is_cuda and x.dtype in DTYPES


@lru_cache
def overlaps(device: torch.device) -> bool:
    """Whether a kernel on that GPU may start while the one before still runs."""
    if device.type != "cuda" or os.environ.get("GR00T_PDL") == "0":
        return False
    return torch.cuda.get_device_capability(device) >= OVERLAP_CAPABILITY


def _launch_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool
) -> Tensor:
    from gr00t_policy_core.models.common.kernels import linear_kernel

    rows, (columns, width) = x.shape[:-1].numel(), weight.shape
    blocks = linear_blocks(rows, columns, width)
    if blocks is None:
        raise ValueError(f"no kernel for a product of {rows} x {width} x {columns}")
    out = x.new_empty((*x.shape[:-1], columns))
    pdl = overlaps(x.device)
    linear_kernel[(columns // blocks.columns, -(-rows // blocks.rows), 1)](
        x.contiguous(),
        weight,
        bias,
        None if residual is None else residual.contiguous(),
        out,
        rows,
        columns,
        WIDTH=width,
        BIAS=bias is not None,
        GELU=gelu,
        RESIDUAL=residual is not None,
        BLOCK_M=blocks.rows,
        BLOCK_N=blocks.columns,
        BLOCK_K=blocks.depth,
        SPLIT=1,
        PDL=pdl,
        PREFETCH=True,
        num_warps=blocks.warps,
        num_stages=blocks.stages,
        launch_pdl=pdl,
    )
    return out


def _launch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    from gr00t_policy_core.models.common.kernels import norm_kernel

    x = x.contiguous()
    width = x.shape[-1]
    out = torch.empty_like(x)
    pdl = overlaps(x.device)
    norm_kernel[(x.shape[:-1].numel(),)](
        x,
        weight,
        bias,
        None,
        None,
        None,
        out,
        x.shape[:-1].numel(),
        eps,
        WIDTH=width,
        BLOCK=_power_of_two(width),
        AFFINE=weight is not None,
        PARTS=0,
        PDL=pdl,
        launch_pdl=pdl,
    )
    return out


def _launch_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    from gr00t_policy_core.models.common.kernels import attention_kernel

    batch, heads, queries, dim = q.shape
    keys = k.shape[2]
    out = q.new_empty((batch, queries, heads * dim))
    block_n = max(16, _power_of_two(keys))
    pdl = overlaps(q.device)
    attention_kernel[(batch * heads, -(-queries // 64))](
        q,
        k,
        v,
        None if bias is None else bias.contiguous(),
        out,
        queries,
        keys,
        heads,
        q.stride(2),
        q.stride(0),
        k.stride(2),
        k.stride(0),
        v.stride(2),
        v.stride(0),
        dim**-0.5,
        DIM=dim,
        BIAS=bias is not None,
        BLOCK_M=64,
        BLOCK_N=block_n,
        BLOCK_D=_power_of_two(dim),
        PDL=pdl,
        num_warps=4 if block_n <= 128 else 8,
        launch_pdl=pdl,
    )
    return out


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _register(library: torch.library.Library, schema: str, launch: Any, fake: Any) -> Any:
    """An operator of torch's dispatcher, which torch.compile and the capture of graphs see."""
    name = schema.partition("(")[0]
    library.define(schema)
    library.impl(name, launch, "CUDA")
    torch.library.register_fake(f"gr00t::{name}", fake, lib=library)
    return getattr(torch.ops.gr00t, name).default


_library = torch.library.Library("gr00t", "DEF")
fused_linear = _register(
    _library,
    "linear(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, bool gelu) -> Tensor",
    _launch_linear,
    lambda x, weight, bias, residual, gelu: x.new_empty((*x.shape[:-1], len(weight))),
)
layer_norm = _register(
    _library,
    "layer_norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor",
    _launch_norm,
    lambda x, weight, bias, eps: torch.empty_like(x, memory_format=torch.contiguous_format),
)
attention = _register(
    _library,
    "attention(Tensor q, Tensor k, Tensor v, Tensor? bias) -> Tensor",
    _launch_attention,
    lambda q, k, v, bias: q.new_empty((len(q), q.shape[2], q.shape[1] * q.shape[3])),
)
