# SPDX-License-Identifier: Apache-2.0
"""Pictures as Qwen3-VL reads them: resized to whole patches, normalised, cut into patches.

Written out because transformers' own fast image processor needs torchvision; the numbers are its.
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
    """preprocessor_config.json of the backbone.

    Args:
        patch: Side of a patch, pixels.
        temporal: Frames that a patch spans; a picture is repeated.
        merge: Patches a side that become one token.
        min_pixels: Smaller pictures are enlarged.
        max_pixels: Larger ones are shrunk.
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
    """Qwen's smart_resize: whole merged patches, between the allowed numbers of pixels."""
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
    """Rows and columns of tokens that a picture of that size becomes."""
    side = patches.patch * patches.merge
    rows, columns = smart_size(height, width, patches)
    return rows // side, columns // side


def fit(frames: list[Frame], config: PatchConfig) -> Tensor:
    """Pictures of one size, resized to whole tokens: uint8 (N, H, W, 3)."""
    images = torch.from_numpy(np.stack(frames))
    height, width = images.shape[1:3]
    return resize_by_torch(images, smart_size(height, width, config), cubic)


def fit_on_device(images: Tensor, config: PatchConfig) -> Tensor:
    """The same of uint8 (N, H, W, 3), bit by bit, on their device."""
    height, width = images.shape[1:3]
    return resize_antialiased(images, smart_size(height, width, config), cubic)


@dataclass(frozen=True, slots=True)
class Patching:
    """How pictures become patches, on their device.

    Args:
        mean: float32 (3,), in units of a pixel's value.
        std: Standard deviation, float32 (3,), in units of a pixel's value.
        config: How to cut.
    """

    mean: Tensor
    std: Tensor
    config: PatchConfig

    @classmethod
    def make(cls, config: PatchConfig, device: torch.device) -> Patching:
        # One division for rescaling and normalising, as the fast image processor does.
        mean = torch.tensor(config.mean, dtype=torch.float32) / config.scale
        std = torch.tensor(config.std, dtype=torch.float32) / config.scale
        return cls(mean.to(device), std.to(device), config)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, patches, 3 · temporal · patch²).

        The patches of one token come one after another.
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
    images: NDArray[np.bool_], mask: NDArray[np.bool_], rows: int, columns: int
) -> NDArray[np.int64]:
    """Where each token stands for the multimodal RoPE: time, height and width.

    Text counts on in all three; the tokens of a picture share the time and have their own row and
    column, and what follows begins after the larger of the two. Every picture has the same grid.

    Args:
        images: bool (B, S), True at the tokens of pictures.
        mask: bool (B, S), False where padded; such tokens get position 1, as in transformers.
        rows: Tokens of each picture, from top to bottom.
        columns: Tokens of each picture, from left to right.

    Returns:
        int64 (3, B, S).
    """
    picture = np.stack(
        [
            np.zeros(rows * columns, dtype=np.int64),
            np.repeat(np.arange(rows), columns),
            np.tile(np.arange(columns), rows),
        ]
    )
    positions = np.ones((3, *images.shape), dtype=np.int64)
    for row, (is_image, is_token) in enumerate(zip(images, mask, strict=True)):
        column = int(np.argmax(is_token))
        position = 0
        while column < is_image.size:
            if is_image[column]:
                end = column + rows * columns
                positions[:, row, column:end] = picture + position
                position += max(rows, columns)
            else:
                end = column + 1
                positions[:, row, column] = position
                position += 1
            column = end
    return positions
