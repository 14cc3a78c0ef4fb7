# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL's image processing: resize to whole tokens, normalize, cut into patches.

transformers' own fast image processor needs torchvision; this module computes the same values
without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.antialias import cubic
from gr00t_policy_core.models.common.resample import resize_antialiased, resize_by_torch
from gr00t_policy_core.resize import Frame


@dataclass(frozen=True, slots=True)
class PatchConfig:
    """The backbone's preprocessor_config.json.

    Args:
        patch: Side of a patch, pixels.
        temporal: Frames that a patch spans; an image is repeated as often.
        merge: Patches per side that one token merges.
        min_pixels: Images with fewer pixels are enlarged to this number.
        max_pixels: Images with more pixels are shrunk to this number.
        mean: Mean of each color channel, of values that `scale` has brought to [0, 1].
        std: Standard deviation of each color channel, of the same values.
        scale: Factor from pixel values (0 to 255) to [0, 1].
    """

    patch: int
    temporal: int
    merge: int
    min_pixels: int
    max_pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> PatchConfig:
        """Read the fields of preprocessor_config.json."""
        size = fields.get("size") or {}
        return cls(
            patch=fields["patch_size"],
            temporal=fields["temporal_patch_size"],
            merge=fields["merge_size"],
            min_pixels=fields.get("min_pixels") or size["shortest_edge"],
            max_pixels=fields.get("max_pixels") or size["longest_edge"],
            mean=tuple(fields["image_mean"]),
            std=tuple(fields["image_std"]),
            scale=fields.get("rescale_factor", 1 / 255),
        )


def smart_size(height: int, width: int, config: PatchConfig) -> tuple[int, int]:
    """The nearest height and width in whole tokens, within the allowed pixels (smart_resize)."""
    factor = config.patch * config.merge
    new_height = round(height / factor) * factor
    new_width = round(width / factor) * factor
    if new_height * new_width > config.max_pixels:
        beta = math.sqrt(height * width / config.max_pixels)
        new_height = max(factor, math.floor(height / beta / factor) * factor)
        new_width = max(factor, math.floor(width / beta / factor) * factor)
    elif new_height * new_width < config.min_pixels:
        beta = math.sqrt(config.min_pixels / (height * width))
        new_height = math.ceil(height * beta / factor) * factor
        new_width = math.ceil(width * beta / factor) * factor
    return new_height, new_width


def image_token_grid(height: int, width: int, patches: PatchConfig) -> tuple[int, int]:
    """Rows and columns of tokens of an image of that height and width."""
    side = patches.patch * patches.merge
    rows, columns = smart_size(height, width, patches)
    return rows // side, columns // side


def resize_to_tokens(frames: list[Frame], config: PatchConfig) -> Tensor:
    """Resize frames of one size to whole tokens: uint8 (N, H, W, 3)."""
    images = torch.from_numpy(np.stack(frames))
    height, width = images.shape[1:3]
    return resize_by_torch(images, smart_size(height, width, config), cubic)


def resize_to_tokens_on_device(images: Tensor, config: PatchConfig) -> Tensor:
    """Resize uint8 (N, H, W, 3) on their device, with the same bits as `resize_to_tokens`."""
    height, width = images.shape[1:3]
    return resize_antialiased(images, smart_size(height, width, config), cubic)


@dataclass(frozen=True, slots=True)
class Patchify:
    """Normalizes images and cuts them into patches, on their device.

    Args:
        mean: Mean of each channel, float32 (3,), in pixel values (0 to 255).
        std: Standard deviation of each channel, float32 (3,), in pixel values.
        config: The size of patches and tokens.
    """

    mean: Tensor
    std: Tensor
    config: PatchConfig

    @classmethod
    def make(cls, config: PatchConfig, device: torch.device) -> Patchify:
        """From the mean and deviation in a `PatchConfig`."""
        # Rescaling and normalizing in one division, as the fast image processor does it.
        mean = torch.tensor(config.mean, dtype=torch.float32) / config.scale
        std = torch.tensor(config.std, dtype=torch.float32) / config.scale
        return cls(mean.to(device), std.to(device), config)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, patches, 3 · temporal · patch²).

        The patches of one token follow one another.
        """
        patch, merge = self.config.patch, self.config.merge
        values = (images - self.mean) / self.std
        count, height, width, _ = images.shape
        rows, columns = height // (patch * merge), width // (patch * merge)
        cut = values.reshape(count, rows, merge, patch, columns, merge, patch, 3)
        cut = cut.permute(0, 1, 4, 2, 5, 7, 3, 6)[..., None, :, :]
        repeated = cut.expand(*cut.shape[:-3], self.config.temporal, patch, patch)
        return repeated.reshape(count, rows * columns * merge**2, -1)


def rope_positions(
    image_mask: NDArray[np.bool_], mask: NDArray[np.bool_], rows: int, columns: int
) -> NDArray[np.int64]:
    """The position of each token for the multimodal RoPE: time, height and width.

    A text token advances all three. The tokens of an image share the time and have a row and a
    column of their own; the next token follows the larger of the two. All images have one grid.

    Args:
        image_mask: bool (B, S), True for image tokens.
        mask: bool (B, S), False for padding, which gets position 1 as in transformers.
        rows: Tokens of each image, from top to bottom.
        columns: Tokens of each image, from left to right.

    Returns:
        int64 (3, B, S).
    """
    image = np.stack(
        [
            np.zeros(rows * columns, dtype=np.int64),
            np.repeat(np.arange(rows), columns),
            np.tile(np.arange(columns), rows),
        ]
    )
    positions = np.ones((3, *image_mask.shape), dtype=np.int64)
    for row, (is_image, is_token) in enumerate(zip(image_mask, mask, strict=True)):
        column = int(np.argmax(is_token))
        position = 0
        while column < is_image.size:
            if is_image[column]:
                end = column + rows * columns
                positions[:, row, column:end] = image + position
                position += max(rows, columns)
            else:
                end = column + 1
                positions[:, row, column] = position
                position += 1
            column = end
    return positions
