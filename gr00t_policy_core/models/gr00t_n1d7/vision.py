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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

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


def to_patches(frames: list[Frame], config: PatchConfig) -> tuple[Tensor, tuple[int, int]]:
    """Pictures of one size to patches.

    Args:
        frames: N pictures, uint8 (H, W, 3).
        config: How to cut them.

    Returns:
        float32 (N · patches, 3 · temporal · patch²), and the grid of each picture (rows,
        columns). The patches of one token come one after another.
    """
    images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    size = smart_size(images.shape[2], images.shape[3], config)
    if size != tuple(images.shape[-2:]):
        images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
    # One multiplication for rescaling and normalising, as the fast image processor does.
    mean = torch.tensor(config.mean) / config.scale
    std = torch.tensor(config.std) / config.scale
    values = (images.float() - mean[:, None, None]) / std[:, None, None]

    patch, merge = config.patch, config.merge
    height, width = size[0] // patch, size[1] // patch
    count = values.shape[0]
    cut = values.reshape(
        count, 3, height // merge, merge, patch, width // merge, merge, patch
    ).permute(0, 2, 5, 3, 6, 1, 4, 7)
    repeated = cut[..., None, :, :].expand(*cut.shape[:-2], config.temporal, patch, patch)
    return repeated.reshape(count * height * width, -1), (height, width)


def rope_positions(
    images: NDArray[np.bool_], mask: NDArray[np.bool_], grid: tuple[int, int], merge: int
) -> NDArray[np.int64]:
    """Where each token stands for the multimodal RoPE: time, height and width.

    Text counts on in all three; the tokens of a picture share the time and have their own row and
    column, and what follows begins after the larger of the two. Every picture has the same grid.

    Args:
        images: bool (B, S), True at the tokens of pictures.
        mask: bool (B, S), False where padded; such tokens get position 1, as in transformers.

    Returns:
        int64 (3, B, S).
    """
    rows, columns = grid[0] // merge, grid[1] // merge
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
