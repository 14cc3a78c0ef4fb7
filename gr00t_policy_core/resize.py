# SPDX-License-Identifier: Apache-2.0
"""The first resize of a model's picture path, where a client may do it in the policy's place.

Frames are uint8 (H, W, 3) RGB. OpenCV is asked for only when a frame is resized by its area
interpolation. Each class here leaves its own results as they are: so a client may resize a frame
before it sends it, the policy resizes whatever comes, and its answer is the same bit for bit.

A policy names its resize among its capabilities:

========================== ======================= ==========================================
capability                 class                   what becomes of a frame
========================== ======================= ==========================================
``resize:area:256``        `LetterBoxResize`       black bars make it square, then 256 x 256
``resize:shortest:256``    `ShortestEdgeResize`    its shorter side 256, its aspect ratio kept
``resize:bilinear:96x128`` `ExactResize`           96 x 128 (height x width), whatever it was
========================== ======================= ==========================================

`LetterBoxResize` and `ExactResize` interpolate by ``area``, ``bilinear`` or ``bicubic``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.antialias import Filter, Lines, antialiased, cubic, triangle

Frame = NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]  # height and width, pixels

MAX_ASPECT = 200  # of both backbones' image processors
MAX_SIDE = 16384  # pixels: a letter box around such a frame takes 0.8 GB


class FirstResize(Protocol):
    """Resizes a frame; a result of its own is left as it is."""

    @property
    def capability(self) -> str:
        """How a policy names it."""

    def size(self, height: int, width: int) -> Size:
        """Of the result, for a frame of that size."""

    def __call__(self, frame: Frame) -> Frame: ...


@dataclass(frozen=True, slots=True)
class LetterBoxResize:
    """Black bars make a frame square; interpolation makes it `edge` pixels wide.

    Args:
        edge: Height and width of the result, pixels.
        method: Of interpolation: ``area``, OpenCV's, which may round otherwise in another version
            or on another processor; ``bilinear`` or ``bicubic``, torch's antialiased ones of uint8,
            in integers, which are the same everywhere.
    """

    edge: int
    method: str = "area"

    @property
    def capability(self) -> str:
        return f"resize:{self.method}:{self.edge}"

    def size(self, height: int, width: int) -> Size:
        return self.edge, self.edge

    def __call__(self, frame: Frame) -> Frame:
        return resized(letterbox(frame), (self.edge, self.edge), self.method)


@dataclass(frozen=True, slots=True)
class ShortestEdgeResize:
    """Makes the shorter side of a frame `edge` pixels, up or down, by OpenCV's area interpolation.

    The other side is scaled by the same factor and rounded, halves to even, as albumentations'
    SmallestMaxSize does it.
    """

    edge: int

    @property
    def capability(self) -> str:
        return f"resize:shortest:{self.edge}"

    def size(self, height: int, width: int) -> Size:
        scale = self.edge / min(height, width)
        return round(height * scale), round(width * scale)

    def __call__(self, frame: Frame) -> Frame:
        return resized(frame, self.size(*frame.shape[:2]), "area")


@dataclass(frozen=True, slots=True)
class ExactResize:
    """Makes a frame `height` x `width`, whatever its shape.

    Args:
        height: Of the result, pixels.
        width: Of the result, pixels.
        method: As of `LetterBoxResize`.
    """

    height: int
    width: int
    method: str

    @property
    def capability(self) -> str:
        return f"resize:{self.method}:{self.height}x{self.width}"

    def size(self, height: int, width: int) -> Size:
        return self.height, self.width

    def __call__(self, frame: Frame) -> Frame:
        return resized(frame, (self.height, self.width), self.method)


def first_resize(capabilities: Iterable[str]) -> FirstResize | None:
    """The resize that a policy names among its capabilities; None where it names none."""
    found = (_parsed(capability) for capability in capabilities)
    return next((first for first in found if first is not None), None)


def is_readable(height: int, width: int) -> bool:
    """Whether models read frames of that size: neither too large nor too narrow."""
    return max(height, width) <= min(MAX_SIDE, MAX_ASPECT * min(height, width))


def saves_pixels(first: FirstResize, height: int, width: int) -> bool:
    """Whether the result has fewer pixels than a frame of that size, which must be readable."""
    if not is_readable(height, width):  # the policy refuses it, and a letter box would be enormous
        return False
    after = first.size(height, width)
    return after[0] * after[1] < height * width


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


def resized(frame: Frame, size: Size, method: str) -> Frame:
    """A frame at another size; itself, contiguous, where that is its own.

    Args:
        frame: uint8 (H, W, 3).
        size: Height and width to come.
        method: One of `METHODS`.
    """
    if frame.shape[:2] == size:
        return np.ascontiguousarray(frame)
    return METHODS[method](frame, size)


def area_resized(frame: Frame, size: Size) -> Frame:
    """By OpenCV's INTER_AREA, which is a linear interpolation where the frame is enlarged."""
    cv2 = require_opencv()
    height, width = size
    result: Frame = cv2.resize(
        np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_AREA
    )
    return result


def bilinear_resized(frame: Frame, size: Size) -> Frame:
    """As torch interpolates uint8: bilinear, antialiased."""
    return _antialiased(frame, size, triangle)


def bicubic_resized(frame: Frame, size: Size) -> Frame:
    """As torch interpolates uint8: bicubic, antialiased."""
    return _antialiased(frame, size, cubic)


def _antialiased(frame: Frame, size: Size, kernel: Filter) -> Frame:
    for axis in (1, 0):  # columns first, as torch does it
        if frame.shape[axis] == size[axis]:
            continue
        lines = antialiased(frame.shape[axis], size[axis], kernel, None)
        # Each line is contiguous memory in both directions.
        swapped = np.ascontiguousarray(frame.swapaxes(0, axis))
        frame = np.ascontiguousarray(_resampled(swapped, lines).swapaxes(0, axis))
    return frame


def _resampled(picture: Frame, lines: Lines) -> Frame:
    """(before, N, 3) to (after, N, 3): each line a weighted sum of some lines, rounded."""
    before = picture.reshape(len(picture), -1).astype(np.int32)
    after = np.empty((len(lines.taps), before.shape[1]), np.int32)
    for line, (begin, weights) in zip(after, lines.taps, strict=True):
        np.matmul(weights, before[begin : begin + len(weights)], out=line)
    after += 1 << (lines.bits - 1)
    after >>= lines.bits
    pixels: Frame = np.clip(after, 0, 255, out=after).astype(np.uint8)
    return pixels.reshape(-1, *picture.shape[1:])


def require_opencv() -> Any:
    """OpenCV; raises ImportError with what to install where it is missing."""
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(
            "resizing pictures needs OpenCV: pip install '.[resize]' (no module named 'cv2')"
        )
    import cv2

    return cv2


METHODS: dict[str, Callable[[Frame, Size], Frame]] = {
    "area": area_resized,
    "bilinear": bilinear_resized,
    "bicubic": bicubic_resized,
}
_SIDE = "[1-9][0-9]{0,4}"
_CAPABILITY = re.compile(
    rf"resize:(?P<way>shortest|{'|'.join(METHODS)}):(?P<first>{_SIDE})(?:x(?P<second>{_SIDE}))?"
)


def _parsed(capability: str) -> FirstResize | None:
    match = _CAPABILITY.fullmatch(capability)
    if match is None:
        return None
    way, first, second = match["way"], int(match["first"]), match["second"]
    if way == "shortest":
        return ShortestEdgeResize(first) if second is None else None
    if second is None:
        return LetterBoxResize(first, way)
    return ExactResize(first, int(second), way)
