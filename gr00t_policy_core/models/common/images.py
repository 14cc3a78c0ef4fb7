# SPDX-License-Identifier: Apache-2.0
"""Camera frames to what the vision tower was trained on, as Isaac-GR00T's two pipelines do it.

Frames are uint8 (H, W, 3) RGB. Both pipelines make a frame square with black bars, resize it, cut
out its centre and resize that; they differ in the interpolation, and so in the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.fields import is_count, read_flag
from gr00t_policy_core.models.common.resample import resize_antialiased, resize_area
from gr00t_policy_core.resize import Frame, SquareResize, area_resized, letterbox, triangle

DEFAULT_FRACTION = 0.95


class ImagePipeline(Protocol):
    """A frame of any size in, one of the pipeline's size out."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what comes out, pixels."""

    @property
    def first(self) -> SquareResize | None:
        """What it does first, where that leaves its own results as they are; else None."""

    def __call__(self, frame: Frame) -> Frame: ...

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        """The same of frames of one size, uint8 (N, H, W, 3), bit by bit, on their device."""


def image_pipeline(processor: Mapping[str, Any], usual_edge: int) -> ImagePipeline:
    """The pipeline that a checkpoint's processor_config.json asks for.

    Args:
        processor: Its processor_kwargs.
        usual_edge: The line's own shortest_image_edge, where it is left out.

    Raises:
        SpecError: Sizes that it needs are missing, or are none.
    """
    if not read_flag(processor, "use_albumentations", False):
        return BilinearCrop(
            _size(processor, "image_target_size"), _size(processor, "image_crop_size")
        )
    edge = processor.get("shortest_image_edge", usual_edge)
    fraction = processor.get("crop_fraction", DEFAULT_FRACTION)
    if edge is None:
        edge = _size(processor, "image_target_size")[0]
    if fraction is None:
        crop, target = (_size(processor, f"image_{which}_size")[0] for which in ("crop", "target"))
        fraction = crop / target
    if not is_count(edge):
        raise _bad(f"shortest_image_edge must be a positive number of pixels, got {edge!r}")
    if (
        isinstance(fraction, bool)
        or not isinstance(fraction, (int, float))
        or not 0 < fraction <= 1
    ):
        raise _bad(f"crop_fraction must be above 0 and at most 1, got {fraction!r}")
    return AreaCrop(edge, float(fraction))


def _size(processor: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Height and width, pixels."""
    size = processor.get(name)
    if not isinstance(size, list) or len(size) != 2 or not all(map(is_count, size)):
        raise _bad(f"{name} must be height and width in pixels, got {size!r}")
    return size[0], size[1]


def _bad(problem: str) -> SpecError:
    return SpecError("bad processor_config.json", [problem])


@dataclass(frozen=True, slots=True)
class AreaCrop:
    """The pipeline that albumentations does for the reference: OpenCV's area interpolation.

    Args:
        edge: Size of the result, pixels.
        fraction: Part of each side that the crop keeps.
    """

    edge: int
    fraction: float

    @property
    def size(self) -> tuple[int, int]:
        return self.edge, self.edge

    @property
    def first(self) -> SquareResize:
        return SquareResize(self.edge)

    def __call__(self, frame: Frame) -> Frame:
        square = self.first(frame)
        side = max(1, int(self.edge * self.fraction))
        if side == self.edge:
            return square
        begin = (self.edge - side) // 2
        return area_resized(square[begin : begin + side, begin : begin + side], self.edge)

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        square = resize_area(letterbox_on_device(frames), self.edge)
        side = max(1, int(self.edge * self.fraction))
        begin = (self.edge - side) // 2
        end = begin + side
        return resize_area(square[:, begin:end, begin:end], self.edge)


@dataclass(frozen=True, slots=True)
class BilinearCrop:
    """The pipeline that torchvision does for the reference: antialiased bilinear on uint8.

    Args:
        target: Height and width of the result, pixels.
        crop: Height and width of the cut-out; a larger one than `target` gets black borders.
    """

    target: tuple[int, int]
    crop: tuple[int, int]

    @property
    def first(self) -> SquareResize | None:
        height, width = self.target
        return SquareResize(height, "bilinear") if height == width else None

    @property
    def size(self) -> tuple[int, int]:
        return self.target

    def __call__(self, frame: Frame) -> Frame:
        square = letterbox(frame)
        if not square.flags.writeable:  # as it came over the wire, which torch warns about
            square = square.copy()
        image = torch.from_numpy(square).permute(2, 0, 1)[None]
        resized = center_crop(self._resize(image), self.crop)
        return np.ascontiguousarray(self._resize(resized)[0].permute(1, 2, 0).numpy())

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        square = resize_antialiased(letterbox_on_device(frames), self.target, triangle, None)
        cropped = center_crop(square.permute(0, 3, 1, 2), self.crop).permute(0, 2, 3, 1)
        return resize_antialiased(cropped, self.target, triangle, None)

    def _resize(self, image: torch.Tensor) -> torch.Tensor:
        if tuple(image.shape[-2:]) == self.target:
            return image
        return F.interpolate(
            image.contiguous(), self.target, mode="bilinear", antialias=True, align_corners=False
        )


def letterbox_on_device(frames: torch.Tensor) -> torch.Tensor:
    """`letterbox` of (N, H, W, 3)."""
    height, width = frames.shape[1:3]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    borders = (0, 0, left, side - width - left, top, side - height - top)
    return F.pad(frames, borders) if any(borders) else frames


def center_crop(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle of (..., H, W), with black borders where it is smaller than `size`."""
    missing = [max(wanted - has, 0) for wanted, has in zip(size, image.shape[-2:], strict=True)]
    if any(missing):
        above, beside = missing
        borders = (beside // 2, (beside + 1) // 2, above // 2, (above + 1) // 2)
        image = F.pad(image, borders)
    # Halves are rounded to even, as torchvision does.
    top, left = (
        round((has - wanted) / 2) for wanted, has in zip(size, image.shape[-2:], strict=True)
    )
    return image[..., top : top + size[0], left : left + size[1]]
