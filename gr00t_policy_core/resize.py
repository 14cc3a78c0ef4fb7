# SPDX-License-Identifier: Apache-2.0
"""What a model's pipeline does to every picture first, where a client may do it in its place.

Frames are uint8 (H, W, 3) RGB. OpenCV is asked for only when a frame is resized in its way.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

Filter = Callable[[float], float]

PILLOW_BITS = 22
CACHED = 32


@dataclass(frozen=True, slots=True)
class SquareResize:
    """Black bars make a frame square; interpolation makes it `edge` pixels wide.

    A frame of that size is left as it is. So a client may do this before it sends a frame: the
    policy, which does it to whatever comes, then changes nothing, and its answer is the same bit
    for bit.

    Args:
        edge: Height and width of the result, pixels.
        method: Of interpolation: ``area``, OpenCV's, which may round otherwise in another version
            or on another processor; or ``bilinear``, torch's antialiased one of uint8, in integers,
            which are the same everywhere.
    """

    edge: int
    method: str = "area"

    @classmethod
    def told_by(cls, capabilities: Iterable[str]) -> SquareResize | None:
        """What a policy says that it does first, among its capabilities; None: it does not say."""
        told = filter(None, map(_CAPABILITY.fullmatch, capabilities))
        return next((cls(int(match["edge"]), match["method"]) for match in told), None)

    @property
    def capability(self) -> str:
        """How a policy says it."""
        return f"resize:{self.method}:{self.edge}"

    def __call__(self, frame: Frame) -> Frame:
        square = letterbox(frame)
        return square if len(square) == self.edge else METHODS[self.method](square, self.edge)

    def saves(self, height: int, width: int) -> bool:
        """Whether the result has fewer pixels than a frame of that size."""
        return self.edge**2 < height * width


def letterbox(frame: Frame) -> Frame:
    """The frame in the middle of a black square; the smaller half of the bars comes first."""
    height, width = frame.shape[:2]
    side = max(height, width)
    if height == width:
        return np.ascontiguousarray(frame)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def area_resized(square: Frame, edge: int) -> Frame:
    """A square frame at another size, by OpenCV's area interpolation."""
    cv2 = require_opencv()
    resized: Frame = cv2.resize(
        np.ascontiguousarray(square), (edge, edge), interpolation=cv2.INTER_AREA
    )
    return resized


def bilinear_resized(square: Frame, edge: int) -> Frame:
    """A square frame at another size, as torch interpolates uint8: bilinear, antialiased."""
    lines = antialiased(len(square), edge, triangle, 1.0, None)
    # Columns first, as torch does it; each line is contiguous memory in both directions.
    columns = _resampled(np.ascontiguousarray(square.swapaxes(0, 1)), lines)
    return _resampled(np.ascontiguousarray(columns.swapaxes(0, 1)), lines)


def _resampled(picture: Frame, lines: Lines) -> Frame:
    """(before, N, 3) to (after, N, 3): each line a weighted sum of some lines, rounded."""
    before = picture.reshape(len(picture), -1).astype(np.int32)
    after = np.empty((len(lines.taps), before.shape[1]), np.uint8)
    half = 1 << (lines.bits - 1)
    for line, (begin, weights) in zip(after, lines.taps, strict=True):
        line[:] = (weights @ before[begin : begin + len(weights)] + half) >> lines.bits
    return after.reshape(-1, *picture.shape[1:])


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
def antialiased(before: int, after: int, kernel: Filter, support: float, bits: int | None) -> Lines:
    """Pillow's taps (`precompute_coeffs`), which torch has, too, for uint8.

    Args:
        before: How many lines there are.
        after: How many they become.
        kernel: Of the interpolation.
        support: Where the kernel ends; further away it is 0.
        bits: Of the weights: `PILLOW_BITS`; None for torch's, as many as fit into an int16.
    """
    scale = before / after
    stretch = max(scale, 1.0)
    reach = support * stretch
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
    """The kernel of bilinear interpolation; its support is 1."""
    return max(0.0, 1.0 - abs(x))


def _fixed(weight: float, bits: int) -> int:
    return int(math.copysign(0.5, weight) + weight * (1 << bits))


def require_opencv() -> Any:
    """OpenCV; raises ImportError with what to install where it is missing."""
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(
            "resizing pictures needs OpenCV: pip install '.[resize]' (no module named 'cv2')"
        )
    import cv2

    return cv2


METHODS: dict[str, Callable[[Frame, int], Frame]] = {
    "area": area_resized,
    "bilinear": bilinear_resized,
}
_CAPABILITY = re.compile(rf"resize:(?P<method>{'|'.join(METHODS)}):(?P<edge>[1-9][0-9]{{0,4}})")
