# SPDX-License-Identifier: Apache-2.0
"""The integer weights of Pillow's and torch's antialiased resizing of uint8 images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Filter = Callable[[float], float]

PILLOW_BITS = 22
CACHED = 32  # pairs of sizes


@dataclass(frozen=True, slots=True, eq=False)
class AntialiasTaps:
    """The weights of input lines (rows or columns) in each output line.

    Args:
        taps: For each output line the index of its first input line, and the int32 weights of that
            line and those that follow.
        bits: Weights are in units of 2**-bits.
    """

    taps: tuple[tuple[int, NDArray[np.int32]], ...]
    bits: int


@lru_cache(CACHED)
def antialias_taps(before: int, after: int, kernel: Filter, bits: int | None) -> AntialiasTaps:
    """The taps of Pillow (`precompute_coeffs`), which torch also uses for uint8.

    Args:
        before: Number of input lines: the height or width before resizing.
        after: Number of output lines: the height or width after resizing.
        kernel: The interpolation kernel: `triangle` (bilinear) or `cubic` (bicubic).
        bits: Fractional bits of the weights: `PILLOW_BITS` for Pillow; None for torch, which takes
            as many as fit into an int16.
    """
    scale = before / after
    stretch = max(scale, 1.0)
    reach = SUPPORT[kernel] * stretch
    taps = []
    for i in range(after):
        centre = scale * (i + 0.5)
        begin = max(int(centre - reach + 0.5), 0)
        end = min(int(centre + reach + 0.5), before)
        weights = [kernel((place - centre + 0.5) / stretch) for place in range(begin, end)]
        total = sum(weights)
        taps.append((begin, [weight / total for weight in weights]))
    if bits is None:
        largest = max(max(weights) for _, weights in taps)
        enough = (b for b in range(PILLOW_BITS) if _fixed(largest, b + 1) >= 2**15)
        bits = next(enough, PILLOW_BITS)
    fixed = (
        (begin, np.array([_fixed(weight, bits) for weight in weights], np.int32))
        for begin, weights in taps
    )
    return AntialiasTaps(tuple(fixed), bits)


def triangle(x: float) -> float:
    """The kernel of bilinear interpolation."""
    return max(0.0, 1.0 - abs(x))


def cubic(x: float) -> float:
    """The kernel of bicubic interpolation, Keys' with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


SUPPORT: dict[Filter, float] = {triangle: 1.0, cubic: 2.0}  # the kernels are 0 beyond that distance


def _fixed(weight: float, bits: int) -> int:
    return int(math.copysign(0.5, weight) + weight * (1 << bits))
