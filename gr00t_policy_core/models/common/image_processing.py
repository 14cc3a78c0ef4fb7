# SPDX-License-Identifier: Apache-2.0
"""Image pipelines: camera frames to the images that the vision tower was trained on.

Frames are uint8 (H, W, 3) RGB. Each pipeline resizes a frame, crops its center and resizes the
crop, as the training code does. If the checkpoint asks for a letter box, black bars make the frame
square first. The pipelines differ in the interpolation, and in whether they keep the aspect ratio:

- `AreaCrop`: albumentations, as Isaac-GR00T calls it; it keeps the aspect ratio.
- `BilinearCrop`: torchvision, as Isaac-GR00T calls it; every frame becomes one size.
- `BicubicCrop`: torchvision, as LeRobot calls it; every frame becomes one size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from gr00t_policy_core.antialias import Filter, cubic, triangle
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.json_fields import PROCESSOR, is_integer, read_flag
from gr00t_policy_core.models.common.resample import (
    resize_antialiased,
    resize_area,
    resize_by_torch,
)
from gr00t_policy_core.resize import (
    MAX_ASPECT,
    ExactResize,
    FirstResize,
    Frame,
    LetterBoxResize,
    ShortestEdgeResize,
    Size,
)

Resize = Callable[[torch.Tensor, Size, Filter], torch.Tensor]  # of uint8 (N, H, W, 3)

DEFAULT_FRACTION = 0.95


class ImagePipeline(Protocol):
    """Maps a frame of any size to an image whose size follows from the frame's."""

    @property
    def first_resize(self) -> FirstResize | None:
        """The first resize, if it leaves its own results unchanged; else None."""

    def size(self, height: int, width: int) -> Size:
        """Height and width of the image of a frame of that size, pixels."""

    def __call__(self, frame: Frame) -> Frame:
        """Process a frame on the host."""

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        """Process frames of one size, uint8 (N, H, W, 3), on their device, with the same bits."""


def image_pipeline(processor: Mapping[str, Any], default_edge: int) -> ImagePipeline:
    """The pipeline that a checkpoint's processor_config.json defines.

    Args:
        processor: The processor_kwargs of processor_config.json.
        default_edge: The model line's default of shortest_image_edge, pixels.

    Raises:
        SpecError: A size is missing or invalid.
    """
    letter_box = read_flag(processor, "letter_box_transform", False)
    if not read_flag(processor, "use_albumentations", False):
        return BilinearCrop(
            _size(processor, "image_target_size"),
            _size(processor, "image_crop_size"),
            letter_box=letter_box,
        )
    edge = processor.get("shortest_image_edge", default_edge)
    fraction = processor.get("crop_fraction", DEFAULT_FRACTION)
    if edge is None:
        edge = _size(processor, "image_target_size")[0]
    if fraction is None:
        crop, target = (_size(processor, f"image_{which}_size")[0] for which in ("crop", "target"))
        fraction = crop / target
    return AreaCrop(_edge(edge), _fraction(fraction), letter_box=letter_box)


def lerobot_pipeline(step: Mapping[str, Any]) -> ImagePipeline:
    """The pipeline that LeRobot's preprocessor defines.

    Args:
        step: The config of the step ``groot_n1_7_vlm_encode_v1`` in policy_preprocessor.json.

    Raises:
        SpecError: A size is missing or invalid.
    """
    if step.get("image_target_size") is None:
        return Unchanged()
    file = "policy_preprocessor.json"
    target = _size(step, "image_target_size", file)
    edge, fraction = step.get("shortest_image_edge"), step.get("crop_fraction")
    if fraction is None and step.get("image_crop_size") is not None:
        fraction = _size(step, "image_crop_size", file)[0] / target[0]
    edge = _edge(target[0] if edge is None else edge, file)
    # LeRobot crops only if the fraction is between 0 and 1.
    fraction = 1.0 if fraction is None else min(_fraction(fraction, file, most=float("inf")), 1.0)
    letter_box = read_flag(step, "letter_box_transform", False, file)
    if read_flag(step, "use_albumentations", False, file):
        return AreaCrop(edge, fraction, letter_box=letter_box)
    return BicubicCrop(edge, fraction, target, letter_box=letter_box)


def _size(fields: Mapping[str, Any], name: str, file: str = PROCESSOR) -> Size:
    """Height and width, pixels."""
    size = fields.get(name)
    if not isinstance(size, list) or len(size) != 2 or not all(map(is_integer, size)):
        raise _bad(file, f"{name} must be height and width in pixels, got {size!r}")
    return size[0], size[1]


def _edge(edge: Any, file: str = PROCESSOR) -> int:
    if not is_integer(edge):
        raise _bad(file, f"shortest_image_edge must be a positive number of pixels, got {edge!r}")
    return int(edge)


def _fraction(fraction: Any, file: str = PROCESSOR, most: float = 1.0) -> float:
    if (
        isinstance(fraction, bool)
        or not isinstance(fraction, (int, float))
        or not 0 < fraction <= most
    ):
        raise _bad(file, f"crop_fraction must be above 0 and at most {most:g}, got {fraction!r}")
    return float(fraction)


def _bad(file: str, problem: str) -> SpecError:
    return SpecError(f"bad {file}", [problem])


@dataclass(frozen=True, slots=True)
class AreaCrop:
    """Resizes the shorter side, by OpenCV's area interpolation.

    Args:
        edge: Shorter side of the result, pixels.
        fraction: Share of each side that the crop keeps.
        letter_box: Whether black bars make frames square first.
    """

    edge: int
    fraction: float
    letter_box: bool

    @property
    def first_resize(self) -> FirstResize:
        return LetterBoxResize(self.edge) if self.letter_box else ShortestEdgeResize(self.edge)

    def size(self, height: int, width: int) -> Size:
        return self._crop_resize.size(*self._crop_size(*self.first_resize.size(height, width)))

    def __call__(self, frame: Frame) -> Frame:
        resized = self.first_resize(frame)
        rows, columns = center_slices(resized.shape[:2], self._crop_size(*resized.shape[:2]))
        return self._crop_resize(resized[rows, columns])

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        size = self.first_resize.size(*frames.shape[1:3])
        resized = resize_area(letterbox_on_device(frames) if self.letter_box else frames, size)
        rows, columns = center_slices(size, self._crop_size(*size))
        cropped = resized[:, rows, columns]
        return resize_area(cropped, self._crop_resize.size(*cropped.shape[1:3]))

    @property
    def _crop_resize(self) -> ShortestEdgeResize:
        return ShortestEdgeResize(self.edge)

    def _crop_size(self, height: int, width: int) -> Size:
        return max(1, int(height * self.fraction)), max(1, int(width * self.fraction))


class TorchCrop(ABC):
    """Makes every frame one size, by torch's antialiased resizing of uint8."""

    __slots__ = ()
    target: Size

    def size(self, height: int, width: int) -> Size:
        return self.target

    def __call__(self, frame: Frame) -> Frame:
        return self._processed(to_batch(frame), resize_by_torch)[0].numpy()

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        return self._processed(frames, resize_antialiased)

    @abstractmethod
    def _processed(self, frames: torch.Tensor, resize: Resize) -> torch.Tensor:
        """Images (N, *target, 3) of frames of one size, uint8 (N, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class BilinearCrop(TorchCrop):
    """Makes every frame one size, by torch's antialiased bilinear interpolation of uint8.

    Args:
        target: Height and width of the result, pixels.
        crop: Height and width of the crop, pixels; one larger than `target` gets black borders.
        letter_box: Whether black bars make frames square first.
    """

    target: Size
    crop: Size
    letter_box: bool

    @property
    def first_resize(self) -> FirstResize | None:
        height, width = self.target
        if not self.letter_box:
            return ExactResize(height, width, "bilinear")
        return LetterBoxResize(height, "bilinear") if height == width else None

    def _processed(self, frames: torch.Tensor, resize: Resize) -> torch.Tensor:
        boxed = letterbox_on_device(frames) if self.letter_box else frames
        resized = resize(boxed, self.target, triangle)
        cropped = center_crop(resized.permute(0, 3, 1, 2), self.crop).permute(0, 2, 3, 1)
        return resize(cropped, self.target, triangle)


@dataclass(frozen=True, slots=True)
class BicubicCrop(TorchCrop):
    """Makes every frame one size, by torch's antialiased bicubic interpolation of uint8.

    Args:
        edge: Height and width before the crop, pixels.
        fraction: Share of each side that the crop keeps, rounded to the nearest pixel.
        target: Height and width of the result, pixels.
        letter_box: Whether black bars make frames square first.
    """

    edge: int
    fraction: float
    target: Size
    letter_box: bool

    @property
    def first_resize(self) -> FirstResize:
        if self.letter_box:
            return LetterBoxResize(self.edge, "bicubic")
        return ExactResize(self.edge, self.edge, "bicubic")

    def _processed(self, frames: torch.Tensor, resize: Resize) -> torch.Tensor:
        boxed = letterbox_on_device(frames) if self.letter_box else frames
        square, side = (self.edge, self.edge), max(1, round(self.edge * self.fraction))
        rows, columns = center_slices(square, (side, side))
        return resize(resize(boxed, square, cubic)[:, rows, columns], self.target, cubic)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Leaves every frame unchanged; only the backbone resizes it."""

    @property
    def first_resize(self) -> None:
        return None

    def size(self, height: int, width: int) -> Size:
        return height, width

    def __call__(self, frame: Frame) -> Frame:
        return frame

    def on_device(self, frames: torch.Tensor) -> torch.Tensor:
        return frames


def center_slices(size: Size, crop: Size) -> tuple[slice, slice]:
    """Rows and columns of a center crop. An odd difference leaves one more pixel at the end."""
    top, left = ((has - wanted) // 2 for has, wanted in zip(size, crop, strict=True))
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def to_batch(frame: Frame) -> torch.Tensor:
    """(H, W, 3) to (1, H, W, 3)."""
    frame = np.ascontiguousarray(frame)
    if not frame.flags.writeable:  # torch warns about read-only arrays, such as those from the wire
        frame = frame.copy()
    return torch.from_numpy(frame)[None]


def check_aspect(height: int, width: int) -> None:
    """Raise `SpecError` for an aspect ratio that both backbones' image processors reject."""
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise SpecError(
            "bad image size",
            [f"{height}x{width} pixels: one side is more than {MAX_ASPECT} times the other"],
        )


def letterbox_on_device(frames: torch.Tensor) -> torch.Tensor:
    """Pad frames (N, H, W, 3) with black bars to a square, as `letterbox` does on the host."""
    height, width = frames.shape[1:3]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    borders = (0, 0, left, side - width - left, top, side - height - top)
    return F.pad(frames, borders) if any(borders) else frames


def center_crop(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The center of images (..., H, W), with black borders if they are smaller than `size`."""
    missing = [max(wanted - has, 0) for wanted, has in zip(size, image.shape[-2:], strict=True)]
    if any(missing):
        above, beside = missing
        borders = (beside // 2, (beside + 1) // 2, above // 2, (above + 1) // 2)
        image = F.pad(image, borders)
    # Halves round to even, as in torchvision.
    top, left = (
        round((has - wanted) / 2) for wanted, has in zip(size, image.shape[-2:], strict=True)
    )
    return image[..., top : top + size[0], left : left + size[1]]
