# SPDX-License-Identifier: Apache-2.0
"""Resizes images on the device, with the same bits as OpenCV, Pillow and torch on the host.

All of them compute a pixel from a few pixels of the input, *taps*, first along rows, then along
columns. The taps depend on the sizes only. The arithmetic differs, and this module repeats each: in
integers, which do not round, or in float32 in the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.antialias import Filter, antialias_taps, cubic, triangle

WIDTH, HEIGHT = 2, 1  # axes of (N, H, W, 3), in the order of resizing

MODES: dict[Filter, str] = {triangle: "bilinear", cubic: "bicubic"}
OPENCV_BITS = 11
CACHED = 64


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """The taps of each output pixel along one axis.

    Args:
        indices: Input pixels of each output pixel, int64 (length, taps).
        weights: Their weights, (length, taps), integers or float32; 0 for unused taps.
        bits: Integer weights are in units of 2**-bits; 0 for float32.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.generic]
    bits: int


def resize_by_torch(images: Tensor, size: tuple[int, int], kernel: Filter) -> Tensor:
    """Resize with torch's own interpolation on the host.

    Args:
        images: uint8 (N, H, W, 3).
        size: Height and width of the result, pixels.
        kernel: `triangle` (bilinear) or `cubic` (bicubic); antialiased.

    Returns:
        uint8 (N, *size, 3).
    """
    before = tuple(images.shape[1:3])
    if before == size:
        return images
    if 1 in before or 1 in size:  # torch mistakes channels for columns there, and fails
        return resize_antialiased(images, size, kernel)
    resized = F.interpolate(
        images.permute(0, 3, 1, 2).contiguous(),
        size,
        mode=MODES[kernel],
        antialias=True,
        align_corners=False,
    )
    return resized.permute(0, 2, 3, 1).contiguous()


def resize_antialiased(
    images: Tensor, size: tuple[int, int], kernel: Filter, bits: int | None = None
) -> Tensor:
    """Resize as Pillow and torch do: in integers, rounded after each axis.

    Args:
        images: uint8 (N, H, W, 3).
        size: Height and width of the result, pixels.
        kernel: The interpolation kernel: `triangle` (bilinear) or `cubic` (bicubic).
        bits: Fractional bits of the weights: `PILLOW_BITS` for Pillow; None for torch, which takes
            as many as fit into an int16.

    Returns:
        uint8 (N, *size, 3), on the device of `images`.
    """
    for axis, after in zip((WIDTH, HEIGHT), reversed(size), strict=True):
        if images.shape[axis] == after:
            continue
        taps = padded_antialias_taps(images.shape[axis], after, kernel, bits)
        total = _weighted(images.to(torch.int32), taps, axis)
        rounded = (total + (1 << (taps.bits - 1))) >> taps.bits
        images = rounded.clamp_(0, 255).to(torch.uint8)
    return images


def resize_area(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as OpenCV does with INTER_AREA.

    Args:
        images: uint8 (N, H, W, 3).
        size: Height and width of the result, pixels.

    Returns:
        uint8 (N, *size, 3), on the device of `images`.
    """
    before = (images.shape[HEIGHT], images.shape[WIDTH])
    if before == size:
        return images
    if any(b < a for b, a in zip(before, size, strict=True)):
        return _enlarged(images, size)
    if all(b % a == 0 for b, a in zip(before, size, strict=True)):
        return _mean_of_blocks(images, size)
    rows = _weighted(images.to(torch.float32), area_taps(before[1], size[1]), WIDTH)
    columns = _weighted(rows, area_taps(before[0], size[0]), HEIGHT)
    return columns.round_().clamp_(0, 255).to(torch.uint8)


def _enlarged(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Linear interpolation, which OpenCV uses if either side is enlarged."""
    before = (images.shape[HEIGHT], images.shape[WIDTH])
    across, down = linear_taps(before[1], size[1]), linear_taps(before[0], size[0])
    # OpenCV drops bits so that 16 are enough: 4 between the axes, 16 and 2 after.
    rows = _weighted(images.to(torch.int32), across, WIDTH) >> 4
    above, below = (
        (rows.index_select(HEIGHT, indices) * weights[:, None, None]) >> 16
        for indices, weights in _on_device(down, images.device)
    )
    return ((above + below + 2) >> 2).to(torch.uint8)


def _mean_of_blocks(images: Tensor, size: tuple[int, int]) -> Tensor:
    count, height, width, channels = images.shape
    down, across = height // size[0], width // size[1]
    blocks = images.to(torch.int32).reshape(count, size[0], down, size[1], across, channels)
    total = blocks.sum((2, 4), dtype=torch.int32)
    if down == across == 2:
        return ((total + 2) >> 2).to(torch.uint8)
    share = float(np.float32(1.0 / (down * across)))
    return (total.to(torch.float32) * share).round_().to(torch.uint8)


def _weighted(images: Tensor, taps: Taps, axis: int) -> Tensor:
    """The weighted sum of each output pixel, tap by tap: in float32 the order affects the result.

    Product and sum are separate kernels on purpose: a fused one would not round the product.
    """
    shape = (-1, 1, 1) if axis == HEIGHT else (-1, 1)
    total: Tensor | None = None
    for indices, weights in _on_device(taps, images.device):
        product = images.index_select(axis, indices) * weights.view(shape)
        total = product if total is None else total + product
    if total is None:
        raise ValueError("the axis has no taps")
    return total


@lru_cache(CACHED)
def _on_device(taps: Taps, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Indices and weights of the first, second, … tap."""
    return [
        (torch.from_numpy(indices.copy()).to(device), torch.from_numpy(weights.copy()).to(device))
        for indices, weights in zip(taps.indices.T, taps.weights.T, strict=True)
    ]


@lru_cache(CACHED)
def padded_antialias_taps(before: int, after: int, kernel: Filter, bits: int | None) -> Taps:
    """`antialias_taps` padded to one number of taps per output pixel with weights of 0."""
    lines = antialias_taps(before, after, kernel, bits)
    count = max(len(weights) for _, weights in lines.taps)
    indices = np.zeros((after, count), dtype=np.int64)
    padded = np.zeros((after, count), dtype=np.int32)
    for i, (begin, weights) in enumerate(lines.taps):
        indices[i, : len(weights)] = np.arange(begin, begin + len(weights))
        padded[i, : len(weights)] = weights
    return Taps(indices, padded, lines.bits)


@lru_cache(CACHED)
def area_taps(before: int, after: int) -> Taps:
    """OpenCV's taps of INTER_AREA for a smaller image: fractions of pixels."""
    scale = 1.0 / (after / before)
    lines: list[list[tuple[int, float]]] = []
    for i in range(after):
        first = i * scale
        last = first + scale
        cell = min(scale, before - first)
        end = min(math.floor(last), before - 1)
        begin = min(math.ceil(first), end)
        line = [(begin - 1, (begin - first) / cell)] if begin - first > 1e-3 else []
        line += [(index, 1.0 / cell) for index in range(begin, end)]
        if last - end > 1e-3:
            line.append((end, min(min(last - end, 1.0), cell) / cell))
        lines.append(line)
    taps = max(map(len, lines))
    indices = np.zeros((after, taps), dtype=np.int64)
    weights = np.zeros((after, taps), dtype=np.float32)
    for i, line in enumerate(lines):
        indices[i, : len(line)] = [index for index, _ in line]
        weights[i, : len(line)] = [weight for _, weight in line]
    return Taps(indices, weights, 0)


@lru_cache(CACHED)
def linear_taps(before: int, after: int) -> Taps:
    """OpenCV's taps of INTER_AREA for a larger image, in integers."""
    inverse = after / before
    scale = 1.0 / inverse
    indices = np.zeros((after, 2), dtype=np.int64)
    weights = np.zeros((after, 2), dtype=np.int32)
    for i in range(after):
        place = math.floor(i * scale)
        part = np.float32((i + 1) - (place + 1) * inverse)
        part = np.float32(0.0) if part <= 0 else np.float32(part - math.floor(part))
        if place >= before - 1:
            place, part = before - 1, np.float32(0.0)
        indices[i] = place, min(place + 1, before - 1)
        weights[i] = [
            round(float(weight * np.float32(1 << OPENCV_BITS)))
            for weight in (np.float32(1.0) - part, part)
        ]
    return Taps(indices, weights, OPENCV_BITS)
