# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the transformer blocks, for the few rows that one or several robots make."""

from __future__ import annotations

import triton
import triton.language as tl

from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

LINE_ELEMENTS: tl.constexpr = tl.constexpr(64)  # of 2 bytes in a cache line


@triton.jit
def _prefetch(pointers):
    """Load cache lines into the L2 cache, without waiting for them."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
        "=r,l",
        [pointers],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


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
    SPLIT: tl.constexpr,
    PDL: tl.constexpr,
    PREFETCH: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    begin = tl.program_id(2) * (WIDTH // SPLIT)
    k = begin + tl.arange(0, BLOCK_K)
    if PDL:
        gdc_launch_dependents()
        if PREFETCH:
            lines = tl.arange(0, BLOCK_K // LINE_ELEMENTS) * LINE_ELEMENTS + begin
            at = weight + n[:, None] * WIDTH + lines[None, :]
            for i in range(0, WIDTH // SPLIT, BLOCK_K):
                _prefetch(at + i)
        gdc_wait()
    x_tile = x + (m % rows)[:, None] * WIDTH + k[None, :]
    weight_tile = weight + n[:, None] * WIDTH + k[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for i in range(0, WIDTH // SPLIT, BLOCK_K):
        total = tl.dot(tl.load(x_tile + i), tl.load(weight_tile + i).T, total)
    at = m[:, None] * columns + n[None, :]
    inside = (m < rows)[:, None]
    if SPLIT > 1:
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
def norm_kernel(
    x,
    weight,
    bias,
    parts,
    part_bias,
    sum_out,
    out,
    rows,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    AFFINE: tl.constexpr,
    PARTS: tl.constexpr,
    PDL: tl.constexpr,
):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < WIDTH
    if AFFINE:
        w = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
        b = tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    value = tl.load(x + row * WIDTH + at, mask=inside, other=0.0).to(tl.float32)
    if PARTS > 0:
        value += tl.load(part_bias + at, mask=inside, other=0.0).to(tl.float32)
        for i in tl.static_range(PARTS):
            value += tl.load(parts + (i * rows + row) * WIDTH + at, mask=inside, other=0.0)
        rounded = value.to(sum_out.dtype.element_ty)
        tl.store(sum_out + row * WIDTH + at, rounded, mask=inside)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, 0) / WIDTH
    centered = tl.where(inside, value - mean, 0.0)
    deviation = tl.sum(centered * centered, 0) / WIDTH
    normed = centered * tl.rsqrt(deviation + eps)
    if AFFINE:
        normed = normed * w + b
    tl.store(out + row * WIDTH + at, normed.to(out.dtype.element_ty), mask=inside)


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
    PDL: tl.constexpr,
):
    """One head of one row; all keys at once."""
    batch, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    if PDL:
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
