# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the transformer blocks, for the few rows that one or several robots make."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def linear_kernel(
    x,
    weight,
    bias,
    residual,
    out,
    rows,
    columns,
    WIDTH: tl.constexpr,
    BIAS: tl.constexpr,
    GELU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    begin = tl.program_id(2) * (WIDTH // SPLITS)
    k = begin + tl.arange(0, BLOCK_K)
    if OVERLAPS:
        gdc_launch_dependents()
        gdc_wait()
    x_tile = x + (m % rows)[:, None] * WIDTH + k[None, :]
    weight_tile = weight + n[:, None] * WIDTH + k[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for i in range(0, WIDTH // SPLITS, BLOCK_K):
        total = tl.dot(tl.load(x_tile + i), tl.load(weight_tile + i).T, total)
    at = m[:, None] * columns + n[None, :]
    inside = (m < rows)[:, None]
    if SPLITS > 1:
        tl.store(out + tl.program_id(2) * rows * columns + at, total, mask=inside)
    else:
        if BIAS:
            total += tl.load(bias + n).to(tl.float32)[None, :]
        if GELU:
            total = total * tl.sigmoid(
                1.5957691216057308 * (total + 0.044715 * total * total * total)
            )
        if RESIDUAL:
            total += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def sum_kernel(
    parts,
    bias,
    residual,
    out,
    size,
    columns,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    if BIAS:
        total += tl.load(bias + at % columns).to(tl.float32)
    if OVERLAPS:
        gdc_launch_dependents()
        gdc_wait()
    for i in tl.static_range(SPLITS):
        total += tl.load(parts + i * size + at, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        total += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def norm_kernel(
    x,
    weight,
    bias,
    out,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    AFFINE: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    at = tl.arange(0, BLOCK)
    inside = at < WIDTH
    if AFFINE:
        scale = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
        shift = tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    if OVERLAPS:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0) * WIDTH + at
    value = tl.load(x + row, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / WIDTH
    centered = tl.where(inside, value - mean, 0.0)
    deviation = tl.sum(centered * centered, 0) / WIDTH
    normed = centered * tl.rsqrt(deviation + eps)
    if AFFINE:
        normed = normed * scale + shift
    tl.store(out + row, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def attention_kernel(
    q,
    k,
    v,
    bias,
    out,
    queries,
    keys,
    heads,
    q_row,
    q_batch,
    k_row,
    k_batch,
    v_row,
    v_batch,
    scale,
    DIM: tl.constexpr,
    BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    OVERLAPS: tl.constexpr,
):
    """One head of one row; all keys at once."""
    batch, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    if OVERLAPS:
        gdc_launch_dependents()
        gdc_wait()
    in_head = (d < DIM)[None, :]
    q_tile = tl.load(
        q + batch * q_batch + m[:, None] * q_row + head * DIM + d[None, :],
        mask=(m < queries)[:, None] & in_head,
        other=0.0,
    )
    k_tile = tl.load(
        k + batch * k_batch + n[:, None] * k_row + head * DIM + d[None, :],
        mask=(n < keys)[:, None] & in_head,
        other=0.0,
    )
    v_tile = tl.load(
        v + batch * v_batch + n[:, None] * v_row + head * DIM + d[None, :],
        mask=(n < keys)[:, None] & in_head,
        other=0.0,
    )
    scores = tl.dot(q_tile, k_tile.T) * scale
    if BIAS:
        scores += tl.load(bias + batch * keys + n, mask=n < keys, other=0.0).to(tl.float32)[None, :]
    scores = tl.where((n < keys)[None, :], scores, -float("inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    total = tl.sum(weights, 1)[:, None]
    attended = tl.dot(weights.to(v_tile.dtype), v_tile) / total
    at = out + (batch * queries + m)[:, None] * heads * DIM + head * DIM + d[None, :]
    tl.store(at, attended.to(out.dtype.element_ty), mask=(m < queries)[:, None] & in_head)
