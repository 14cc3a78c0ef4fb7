# SPDX-License-Identifier: Apache-2.0
"""The weights by which Pillow and torch resize pictures of uint8: antialiased, in integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Filter = Callable[[float], float]

PILLOW_BITS = 22
CACHED = 32


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """How each line of a picture comes from the lines of another.

    Args:
        taps: Of each: the first of the lines that it comes from, and the weights of that one and
            those after it, int32.
        bits: Weights are in units of 2**-bits.
    """

    taps: tuple[tuple[int, NDArray[np.int32]], ...]
    bits: int


@lru_cache(CACHED)
def antialiased(before: int, after: int, kernel: Filter, bits: int | None) -> Lines:
    """Pillow's taps (`precompute_coeffs`), which torch has, too, for uint8.

    Args:
        before: How many lines there are.
        after: How many they become.
        kernel: Of the interpolation: `triangle` or `cubic`.
        bits: Of the weights: `PILLOW_BITS`; None for torch's, as many as fit into an int16.
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
    return Lines(tuple(fixed), bits)


def triangle(x: float) -> float:
    """The kernel of bilinear interpolation."""
    return max(0.0, 1.0 - abs(x))


def cubic(x: float) -> float:
    """The kernel of bicubic interpolation, Keys' with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


SUPPORT: dict[Filter, float] = {triangle: 1.0, cubic: 2.0}  # further away they are 0


def _fixed(weight: float, bits: int) -> int:
    return int(math.copysign(0.5, weight) + weight * (1 << bits))
