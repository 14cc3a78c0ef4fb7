# SPDX-License-Identifier: Apache-2.0
"""Resizing on the device, with the bits that OpenCV, Pillow and torch give on the host.

All of them compute a pixel from few of the picture's, first along rows, then along columns: *taps*,
which depend on the sizes only. What differs is the arithmetic, and that is done here as they do it:
in integers, which have no rounding of their own, or in float32 in their order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.resize import Filter, antialiased, triangle

WIDTH, HEIGHT = 2, 1  # of (N, H, W, 3), in the order in which they are resized

OPENCV_BITS = 11
CACHED = 32


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """How each place of a line comes from the places of another.

    Args:
        places: int64 (length, taps).
        weights: (length, taps), integers or float32; 0 where fewer taps are needed.
        bits: Integers are in units of 2**-bits; 0 for float32.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.generic]
    bits: int


def cubic(x: float) -> float:
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


SUPPORT: dict[Filter, float] = {triangle: 1.0, cubic: 2.0}


def resize_antialiased(
    images: Tensor, size: tuple[int, int], kernel: Filter, bits: int | None
) -> Tensor:
    """As Pillow and torch do it: integers, rounded after each direction.

    Args:
        images: uint8 (N, H, W, 3).
        size: Height and width to come.
        kernel: `triangle` or `cubic`.
        bits: Of the weights: `PILLOW_BITS`, or None for as many as torch takes.

    Returns:
        uint8 (N, *size, 3), on the device of `images`.
    """
    for axis, after in zip((WIDTH, HEIGHT), reversed(size), strict=True):
        if images.shape[axis] == after:
            continue
        taps = antialiased_taps(images.shape[axis], after, kernel, bits)
        total = _weighted(images.to(torch.int32), taps, axis)
        rounded = (total + (1 << (taps.bits - 1))) >> taps.bits
        images = rounded.clamp_(0, 255).to(torch.uint8)
    return images


def resize_area(images: Tensor, edge: int) -> Tensor:
    """As OpenCV does it with INTER_AREA, for square pictures.

    Args:
        images: uint8 (N, side, side, 3).
        edge: Side to come.

    Returns:
        uint8 (N, edge, edge, 3), on the device of `images`.
    """
    side = images.shape[HEIGHT]
    if side == edge:
        return images
    if side % edge == 0:
        return _mean_of_blocks(images, side // edge)
    taps = area(side, edge)
    if taps.bits == 0:
        rows = _weighted(images.to(torch.float32), taps, WIDTH)
        return _weighted(rows, taps, HEIGHT).round_().clamp_(0, 255).to(torch.uint8)
    # OpenCV drops bits so that 16 of them are enough: 4 between the directions, 16 and 2 after.
    rows = _weighted(images.to(torch.int32), taps, WIDTH) >> 4
    above, below = (
        (rows.index_select(HEIGHT, places) * weights[:, None, None]) >> 16
        for places, weights in _on_device(taps, images.device)
    )
    return ((above + below + 2) >> 2).to(torch.uint8)


def _mean_of_blocks(images: Tensor, factor: int) -> Tensor:
    count, side, _, channels = images.shape
    edge = side // factor
    blocks = images.to(torch.int32).reshape(count, edge, factor, edge, factor, channels)
    total = blocks.sum((2, 4), dtype=torch.int32)
    if factor == 2:
        return ((total + 2) >> 2).to(torch.uint8)
    share = float(np.float32(1.0 / factor**2))
    return (total.to(torch.float32) * share).round_().to(torch.uint8)


def _weighted(images: Tensor, taps: Taps, axis: int) -> Tensor:
    """Each place's weighted sum, tap by tap: in float32 the order is part of the result.

    The product is apart from the sum on purpose: in one kernel it would not be rounded.
    """
    shape = (-1, 1, 1) if axis == HEIGHT else (-1, 1)
    total: Tensor | None = None
    for places, weights in _on_device(taps, images.device):
        product = images.index_select(axis, places) * weights.view(shape)
        total = product if total is None else total + product
    if total is None:
        raise ValueError("a line has no places")
    return total


@lru_cache(CACHED)
def _on_device(taps: Taps, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Places and weights of the first, second, … tap."""
    return [
        (torch.from_numpy(places.copy()).to(device), torch.from_numpy(weights.copy()).to(device))
        for places, weights in zip(taps.places.T, taps.weights.T, strict=True)
    ]


@lru_cache(CACHED)
def antialiased_taps(before: int, after: int, kernel: Filter, bits: int | None) -> Taps:
    """`antialiased` with as many taps for each place: what is filled up weighs nothing."""
    lines = antialiased(before, after, kernel, SUPPORT[kernel], bits)
    count = max(len(weights) for _, weights in lines.taps)
    places = np.zeros((after, count), dtype=np.int64)
    padded = np.zeros((after, count), dtype=np.int32)
    for i, (begin, weights) in enumerate(lines.taps):
        places[i, : len(weights)] = np.arange(begin, begin + len(weights))
        padded[i, : len(weights)] = weights
    return Taps(places, padded, lines.bits)


@lru_cache(CACHED)
def area(before: int, after: int) -> Taps:
    """OpenCV's taps of INTER_AREA: parts of pixels for a smaller picture (`computeResizeAreaTab`).

    For a larger one those of a linear interpolation, in integers.
    """
    return _area_shrink(before, after) if after < before else _area_grow(before, after)


def _area_shrink(before: int, after: int) -> Taps:
    scale = 1.0 / (after / before)
    lines: list[list[tuple[int, float]]] = []
    for i in range(after):
        first = i * scale
        last = first + scale
        cell = min(scale, before - first)
        end = min(math.floor(last), before - 1)
        begin = min(math.ceil(first), end)
        line = [(begin - 1, (begin - first) / cell)] if begin - first > 1e-3 else []
        line += [(place, 1.0 / cell) for place in range(begin, end)]
        if last - end > 1e-3:
            line.append((end, min(min(last - end, 1.0), cell) / cell))
        lines.append(line)
    taps = max(map(len, lines))
    places = np.zeros((after, taps), dtype=np.int64)
    weights = np.zeros((after, taps), dtype=np.float32)
    for i, line in enumerate(lines):
        places[i, : len(line)] = [place for place, _ in line]
        weights[i, : len(line)] = [weight for _, weight in line]
    return Taps(places, weights, 0)


def _area_grow(before: int, after: int) -> Taps:
    inverse = after / before
    scale = 1.0 / inverse
    places = np.zeros((after, 2), dtype=np.int64)
    weights = np.zeros((after, 2), dtype=np.int32)
    for i in range(after):
        place = math.floor(i * scale)
        part = np.float32((i + 1) - (place + 1) * inverse)
        part = np.float32(0.0) if part <= 0 else np.float32(part - math.floor(part))
        if place >= before - 1:
            place, part = before - 1, np.float32(0.0)
        places[i] = place, min(place + 1, before - 1)
        weights[i] = [
            round(float(weight * np.float32(1 << OPENCV_BITS)))
            for weight in (np.float32(1.0) - part, part)
        ]
    return Taps(places, weights, OPENCV_BITS)
