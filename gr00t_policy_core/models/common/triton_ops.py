# SPDX-License-Identifier: Apache-2.0
"""Operators of the action head as single Triton kernels, for few rows on a GPU.

The action tokens of one robot are 41 rows. A matrix product then takes hardly longer than reading
its weights, and what surrounds it (bias, GELU, residual, norm, attention) as long as the product if
each is a kernel of its own. Where there is no Triton or it does not work, torch's operators run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.bfloat16, torch.float16)
MAX_KEYS = 256  # of attention: a program holds the scores of all keys in registers
QUERIES = 64  # of attention, in one program
SUMMED = 1024  # values that a program sums over the parts of a product
OVERLAP_CAPABILITY = (9, 0)  # Hopper

_usable_gpus: set[int] = set()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a matrix product is distributed to programs.

    Args:
        rows: Rows of the input that a program reads.
        columns: Columns of the output that it computes.
        depth: Columns of the input that it loads at once.
        stages: Loads in flight.
        splits: Parts of the input's columns; each is a program's, and another kernel sums them.
    """

    rows: int
    columns: int
    depth: int
    stages: int
    splits: int = 1


# Measured on an H200 at the shapes of the published action head, each against cuBLAS: the fastest
# of about ten for products up to so many rows.
SQUARE = {
    128: Blocks(64, 32, 128, stages=6),
    192: Blocks(64, 64, 128, stages=4),
    384: Blocks(128, 64, 64, stages=5),
    768: Blocks(64, 128, 64, stages=4),
}
WIDE = {64: Blocks(64, 64, 128, stages=4)}
DEEP = {64: Blocks(64, 64, 128, stages=6, splits=4)}
DEEP_ROWS = 768  # up to which cuBLAS is faster in parts
DEEP_SPLITS = 3


def linear_blocks(rows: int, columns: int, width: int) -> Blocks | None:
    """The fastest distribution of a product; None where cuBLAS is faster."""
    table = DEEP if _is_deep(columns, width) else SQUARE if columns <= width else WIDE
    blocks = next((table[most] for most in table if rows <= most), None)
    if blocks is None or columns % blocks.columns or width % (blocks.depth * blocks.splits):
        return None
    return blocks


def has_linear(rows: int, columns: int, width: int, gelu: bool = False) -> bool:
    """Whether `linear` computes a product faster than torch's operators."""
    blocks = linear_blocks(rows, columns, width)
    if blocks is None:
        fits = _is_deep(columns, width) and width % DEEP_SPLITS == 0
        return fits and rows <= DEEP_ROWS and not gelu
    return blocks.splits == 1 or not gelu


def _is_deep(columns: int, width: int) -> bool:
    """Whether few columns of the output keep few programs busy, each for long."""
    return width > 2 * columns


def suits(x: Tensor) -> bool:
    """Whether the kernels work with a tensor's device and dtype."""
    return x.is_cuda and x.dtype in DTYPES and x.device.index in _usable_gpus


def prepare(device: torch.device) -> None:
    """Use the kernels on a GPU if one of them works there.

    Triton may be absent, or lack a C compiler, or not support the GPU; the log then says so.
    """
    if device.type != "cuda":
        return
    try:
        x = torch.ones(1, 16, dtype=DTYPES[0], device=device)
        launch_norm(x, None, None, 1e-5)
        torch.cuda.synchronize(device)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        logger.warning("Triton does not work, so the action head takes longer: %s", reason)
    else:
        _usable_gpus.add(x.device.index)


@lru_cache
def _overlaps(device: torch.device) -> bool:
    """Whether a kernel may start while the one before still runs (dependent launch)."""
    if device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= OVERLAP_CAPABILITY


def launch_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool
) -> Tensor:
    """A linear layer, followed by GELU in its tanh approximation or added to `residual`.

    Args:
        x: (..., width).
        weight: (columns, width), for which `has_linear` is true.
        bias: (columns,), or None.
        residual: (..., columns), or None.
        gelu: Apply GELU.

    Returns:
        (..., columns).

    Raises:
        ValueError: There is no kernel for these shapes.
    """
    rows, (columns, width) = x.shape[:-1].numel(), weight.shape
    if not has_linear(rows, columns, width, gelu):
        raise ValueError(f"there is no kernel for a product of {rows} x {width} x {columns}")
    x = x.contiguous()
    residual = None if residual is None else residual.contiguous()
    out = x.new_empty((*x.shape[:-1], columns))
    blocks = linear_blocks(rows, columns, width)
    if blocks is None:
        _launch_sum(_cublas_parts(x, weight), bias, residual, out)
    elif blocks.splits == 1:
        _launch_product(x, weight, bias, residual, gelu, out, blocks)
    else:
        parts = x.new_empty((blocks.splits, rows, columns), dtype=torch.float32)
        _launch_product(x, weight, None, None, False, parts, blocks)
        _launch_sum(parts, bias, residual, out)
    return out


def _launch_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    gelu: bool,
    out: Tensor,
    blocks: Blocks,
) -> None:
    from gr00t_policy_core.models.common.triton_kernels import linear_kernel

    rows, (columns, width) = x.shape[:-1].numel(), weight.shape
    overlaps = _overlaps(x.device)
    linear_kernel[(columns // blocks.columns, -(-rows // blocks.rows), blocks.splits)](
        x,
        weight,
        bias,
        residual,
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
        SPLITS=blocks.splits,
        OVERLAPS=overlaps,
        num_stages=blocks.stages,
        launch_pdl=overlaps,
    )


def _cublas_parts(x: Tensor, weight: Tensor) -> Tensor:
    """Partial products that add up to the product: float32 (`DEEP_SPLITS`, rows, columns)."""
    parts = x.flatten(0, -2).unflatten(-1, (DEEP_SPLITS, -1)).transpose(0, 1)
    weights = weight.unflatten(-1, (DEEP_SPLITS, -1)).permute(1, 2, 0)
    if x.dtype == torch.float32:
        return torch.bmm(parts, weights)
    return torch.bmm(parts, weights, out_dtype=torch.float32)


def _launch_sum(parts: Tensor, bias: Tensor | None, residual: Tensor | None, out: Tensor) -> None:
    from gr00t_policy_core.models.common.triton_kernels import sum_kernel

    overlaps = _overlaps(out.device)
    sum_kernel[(-(-out.numel() // SUMMED),)](
        parts,
        bias,
        residual,
        out,
        out.numel(),
        out.shape[-1],
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        SPLITS=len(parts),
        BLOCK=SUMMED,
        OVERLAPS=overlaps,
        launch_pdl=overlaps,
    )


def launch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer norm over the last dimension; `weight` and `bias` are (width,), or both None."""
    from gr00t_policy_core.models.common.triton_kernels import norm_kernel

    x = x.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    overlaps = _overlaps(x.device)
    norm_kernel[(x.shape[:-1].numel(),)](
        x,
        weight,
        bias,
        out,
        eps,
        WIDTH=width,
        BLOCK=_power_of_two(width),
        AFFINE=weight is not None,
        OVERLAPS=overlaps,
        launch_pdl=overlaps,
    )
    return out


def launch_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of all queries to at most `MAX_KEYS` keys.

    Args:
        q: (B, heads, T, head_dim); a view of (B, T, ..., heads, head_dim), as `k` and `v` are.
        k: (B, heads, S, head_dim).
        v: (B, heads, S, head_dim).
        bias: Added to the scores, (B, 1, 1, S), or None.

    Returns:
        (B, T, heads · head_dim).
    """
    from gr00t_policy_core.models.common.triton_kernels import attention_kernel

    batch, heads, queries, dim = q.shape
    keys = k.shape[2]
    out = q.new_empty((batch, queries, heads * dim))
    block_keys = max(16, _power_of_two(keys))
    overlaps = _overlaps(q.device)
    attention_kernel[(batch * heads, -(-queries // QUERIES))](
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
        BLOCK_M=QUERIES,
        BLOCK_N=block_keys,
        BLOCK_D=max(16, _power_of_two(dim)),
        OVERLAPS=overlaps,
        num_warps=4 if block_keys <= 128 else 8,
        launch_pdl=overlaps,
    )
    return out


def _power_of_two(value: int) -> int:
    """The smallest power of two that is at least `value`."""
    return 1 << (value - 1).bit_length()


# Operators of torch's dispatcher: torch.compile calls them as they are, and the capture of a graph
# sees the tensors that they read.
_LIBRARY = torch.library.Library("gr00t", "DEF")


def _operator(schema: str, launch: Callable[..., Tensor], fake: Callable[..., Tensor]) -> Any:
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, launch, "CUDA")
    torch.library.register_fake(f"gr00t::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.gr00t, name).default


linear = _operator(
    "linear(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, bool gelu) -> Tensor",
    launch_linear,
    lambda x, weight, bias, residual, gelu: x.new_empty((*x.shape[:-1], len(weight))),
)
layer_norm = _operator(
    "layer_norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor",
    launch_norm,
    lambda x, weight, bias, eps: torch.empty_like(x, memory_format=torch.contiguous_format),
)
attention = _operator(
    "attention(Tensor q, Tensor k, Tensor v, Tensor? bias) -> Tensor",
    launch_attention,
    lambda q, k, v, bias: q.new_empty((len(q), q.shape[2], q.shape[1] * q.shape[3])),
)
