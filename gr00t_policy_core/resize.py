# SPDX-License-Identifier: Apache-2.0
"""The first resize of a model's image pipeline, which a client may do instead of the policy.

Frames are uint8 (H, W, 3) RGB. Only area interpolation needs OpenCV. Each class leaves its own
results unchanged: if a client resizes a frame before it sends it, the policy's own resize changes
nothing, and the action is the same, bit by bit.

A policy names its first resize among its capabilities:

========================== ======================= ==========================================
capability                 class                   result
========================== ======================= ==========================================
``resize:area:256``        `LetterBoxResize`       black bars to a square, then 256 x 256
``resize:shortest:256``    `ShortestEdgeResize`    shorter side 256, same aspect ratio
``resize:bilinear:96x128`` `ExactResize`           96 x 128 (height x width)
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

from gr00t_policy_core.antialias import AntialiasTaps, Filter, antialias_taps, cubic, triangle

Frame = NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]  # height and width, pixels

MAX_ASPECT = 200  # limit of both backbones' image processors
MAX_SIDE = 16384  # pixels; the letter box of such a frame takes 0.8 GB


class FirstResize(Protocol):
    """Resizes a frame, and leaves its own results unchanged."""

    @property
    def capability(self) -> str:
        """Its name among a policy's capabilities."""

    def size(self, height: int, width: int) -> Size:
        """Height and width of the result for a frame of that size, pixels."""

    def __call__(self, frame: Frame) -> Frame:
        """The resized frame, uint8 (H, W, 3)."""


@dataclass(frozen=True, slots=True)
class LetterBoxResize:
    """Pads a frame with black bars to a square, and resizes it to `edge` x `edge`.

    Args:
        edge: Height and width of the result, pixels.
        method: Interpolation: ``area`` is OpenCV's, whose rounding may differ between versions and
            processors. ``bilinear`` and ``bicubic`` are torch's antialiased ones for uint8, in
            integers, which are the same everywhere.
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
    """Resizes the shorter side of a frame to `edge` pixels, by OpenCV's area interpolation.

    It scales the other side by the same factor and rounds halves to even, as albumentations'
    SmallestMaxSize does.
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
    """Resizes a frame to `height` x `width`, without keeping its aspect ratio.

    Args:
        height: Height of the result, pixels.
        width: Width of the result, pixels.
        method: The interpolation between pixels, as in `LetterBoxResize`.
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
    """The resize that a policy names among its capabilities; None if it names none."""
    found = (_parsed(capability) for capability in capabilities)
    return next((first for first in found if first is not None), None)


def is_readable(height: int, width: int) -> bool:
    """Whether models accept frames of that size, neither too large nor too narrow."""
    return max(height, width) <= min(MAX_SIDE, MAX_ASPECT * min(height, width))


def saves_pixels(first: FirstResize, height: int, width: int) -> bool:
    """Whether the result has fewer pixels than a frame of that size; False if unreadable."""
    if not is_readable(height, width):  # the policy rejects it, and a letter box would be huge
        return False
    after = first.size(height, width)
    return after[0] * after[1] < height * width


def letterbox(frame: Frame) -> Frame:
    """The frame centered in a black square; an odd difference adds a line at the end."""
    height, width = frame.shape[:2]
    side = max(height, width)
    if height == width:
        return np.ascontiguousarray(frame)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def resized(frame: Frame, size: Size, method: str) -> Frame:
    """Resize a frame; a frame of that size is only made contiguous.

    Args:
        frame: RGB image, uint8 (H, W, 3).
        size: Height and width of the result, pixels.
        method: Interpolation, a key of `METHODS`.
    """
    if frame.shape[:2] == size:
        return np.ascontiguousarray(frame)
    return METHODS[method](frame, size)


def area_resized(frame: Frame, size: Size) -> Frame:
    """Resize by OpenCV's INTER_AREA, which is linear interpolation for a larger result."""
    cv2 = require_opencv()
    height, width = size
    result: Frame = cv2.resize(
        np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_AREA
    )
    return result


def bilinear_resized(frame: Frame, size: Size) -> Frame:
    """Resize as torch does uint8: bilinear, antialiased."""
    return _antialiased(frame, size, triangle)


def bicubic_resized(frame: Frame, size: Size) -> Frame:
    """Resize as torch does uint8: bicubic, antialiased."""
    return _antialiased(frame, size, cubic)


def _antialiased(frame: Frame, size: Size, kernel: Filter) -> Frame:
    for axis in (1, 0):  # columns first, as torch does it
        if frame.shape[axis] == size[axis]:
            continue
        lines = antialias_taps(frame.shape[axis], size[axis], kernel, None)
        # Make each line contiguous memory.
        swapped = np.ascontiguousarray(frame.swapaxes(0, axis))
        frame = np.ascontiguousarray(_resampled(swapped, lines).swapaxes(0, axis))
    return frame


def _resampled(picture: Frame, lines: AntialiasTaps) -> Frame:
    """(before, N, 3) to (after, N, 3): each line is a rounded weighted sum of lines."""
    before = picture.reshape(len(picture), -1).astype(np.int32)
    after = np.empty((len(lines.taps), before.shape[1]), np.int32)
    for line, (begin, weights) in zip(after, lines.taps, strict=True):
        np.matmul(weights, before[begin : begin + len(weights)], out=line)
    after += 1 << (lines.bits - 1)
    after >>= lines.bits
    pixels: Frame = np.clip(after, 0, 255, out=after).astype(np.uint8)
    return pixels.reshape(-1, *picture.shape[1:])


def require_opencv() -> Any:
    """The module cv2; raises ImportError with the command that installs it."""
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(
            "resizing images needs OpenCV: run pip install '.[resize]' (no module named 'cv2')"
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
