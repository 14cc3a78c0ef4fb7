# SPDX-License-Identifier: Apache-2.0
"""What a model's pipeline does to every picture first, where a client may do it in its place.

Frames are uint8 (H, W, 3) RGB. OpenCV is asked for only when a frame is resized.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

_CAPABILITY = re.compile(r"resize:area:([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class SquareResize:
    """Black bars make a frame square; OpenCV's area interpolation makes it `edge` pixels wide.

    A frame of that size is left as it is. So a client may do this before it sends a frame: the
    policy, which does it to whatever comes, then changes nothing, and its answer is the same bit
    for bit. (OpenCV may round otherwise in another version or on another processor.)

    Args:
        edge: Height and width of the result, pixels.
    """

    edge: int

    @classmethod
    def told_by(cls, capabilities: Iterable[str]) -> SquareResize | None:
        """What a policy says that it does first, among its capabilities; None: it does not say."""
        told = filter(None, map(_CAPABILITY.fullmatch, capabilities))
        return next((cls(int(match[1])) for match in told), None)

    @property
    def capability(self) -> str:
        """How a policy says it."""
        return f"resize:area:{self.edge}"

    def __call__(self, frame: Frame) -> Frame:
        square = letterbox(frame)
        return square if len(square) == self.edge else area_resized(square, self.edge)

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


def require_opencv() -> Any:
    """OpenCV; raises ImportError with what to install where it is missing."""
    if importlib.util.find_spec("cv2") is None:
        raise ImportError(
            "resizing pictures needs OpenCV: pip install '.[resize]' (no module named 'cv2')"
        )
    import cv2

    return cv2
