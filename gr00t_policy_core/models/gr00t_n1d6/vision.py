# SPDX-License-Identifier: Apache-2.0
"""The vision tower of GR00T N1.6: SigLIP2 for images of any size, and their resizing.

Modules and parameters have their names in a checkpoint, except for fused layers. Eagle's own code
packs all images into one sequence; here they are a batch, because all of them have one size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gr00t_policy_core.antialias import PILLOW_BITS, cubic
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.fused_linear import FusedLinear
from gr00t_policy_core.models.common.resample import resize_antialiased
from gr00t_policy_core.resize import Frame

PATCH = 14
MERGE = 2  # patches per side that one token merges
FACTOR = PATCH * MERGE
MIN_PIXELS = 4 * FACTOR**2
MAX_PIXELS = 4096 * FACTOR**2


@dataclass(frozen=True, slots=True)
class SiglipConfig:
    """The shape of the tower, from ``vision_config`` in the backbone's config.json."""

    width: int
    inner: int
    layers: int
    heads: int
    patches: int
    eps: float

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> SiglipConfig:
        """Read the fields; raises `SpecError` for a tower that this module does not implement."""
        problems = [
            f"vision_config.{name} must be {wanted!r}, got {fields.get(name, wanted)!r}"
            for name, wanted in (
                ("use_rope", False),
                ("use_windows_attn", False),
                ("patch_size", PATCH),
                ("hidden_act", "gelu_pytorch_tanh"),
            )
            if fields.get(name, wanted) != wanted
        ]
        if problems:
            raise SpecError("the backbone's config.json has unsupported values", problems)
        return cls(
            width=fields["hidden_size"],
            inner=fields["intermediate_size"],
            layers=fields["num_hidden_layers"],
            heads=fields["num_attention_heads"],
            patches=fields["num_patches"],
            eps=fields["layer_norm_eps"],
        )


def resize_to_tokens(frames: list[Frame]) -> Tensor:
    """Resize frames of one size to whole tokens: uint8 (N, H, W, 3).

    It resizes width and height in two calls: Pillow 13 chooses their order by the size, and earlier
    releases, which the reference runs with, resize the width first.
    """
    height, width = whole_tokens(*frames[0].shape[:2])
    bicubic = Image.Resampling.BICUBIC
    resized = []
    for frame in frames:
        across = Image.fromarray(frame).resize((width, frame.shape[0]), bicubic)
        resized.append(np.asarray(across.resize((width, height), bicubic)))
    return torch.from_numpy(np.stack(resized))


def resize_to_tokens_on_device(images: Tensor) -> Tensor:
    """Resize uint8 (N, H, W, 3) on their device, with the same bits as `resize_to_tokens`."""
    height, width = images.shape[1:3]
    return resize_antialiased(images, whole_tokens(height, width), cubic, PILLOW_BITS)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W) in [-1, 1]."""
    return (images.permute(0, 3, 1, 2) - 127.5) / 127.5


def whole_tokens(height: int, width: int) -> tuple[int, int]:
    """The nearest height and width in whole tokens, within the allowed number of pixels."""
    rows = max(1, round(height / FACTOR)) * FACTOR
    columns = max(1, round(width / FACTOR)) * FACTOR
    if rows * columns > MAX_PIXELS:
        shrink = (height * width / MAX_PIXELS) ** 0.5
        rows = int(height / shrink / FACTOR) * FACTOR
        columns = int(width / shrink / FACTOR) * FACTOR
    elif rows * columns < MIN_PIXELS:
        grow = (MIN_PIXELS / (height * width)) ** 0.5
        rows = int(np.ceil(height * grow / FACTOR)) * FACTOR
        columns = int(np.ceil(width * grow / FACTOR)) * FACTOR
    return rows, columns


def image_token_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tokens of an image of that height and width."""
    rows, columns = whole_tokens(height, width)
    return rows // FACTOR, columns // FACTOR


class SiglipEmbeddings(nn.Module):
    """Patch embeddings plus position embeddings, resized to the image's grid."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * PATCH**2, config.width)
        self.position_embedding = nn.Embedding(config.patches, config.width)

    def forward(self, pixels: Tensor, positions: Tensor) -> Tensor:
        count, _, height, width = pixels.shape
        grid = (height // PATCH, width // PATCH)
        patches = pixels.reshape(count, 3, grid[0], PATCH, grid[1], PATCH)
        patches = patches.permute(0, 2, 4, 3, 5, 1).reshape(count, grid[0] * grid[1], -1)
        embedded: Tensor = self.patch_embedding(patches)
        return embedded + positions

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position embeddings of a grid (rows, columns) of patches: (1, patches, width)."""
        weight = self.position_embedding.weight
        side = round(len(weight) ** 0.5)
        learned = weight.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(learned, grid, mode="bilinear", align_corners=False, antialias=True)
        return resized.flatten(2).transpose(1, 2).to(weight.dtype)


class SiglipAttention(nn.Module):
    """Full attention within an image."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.heads = config.heads
        width = config.width
        self.qkv_proj = FusedLinear(width, {"q_proj": width, "k_proj": width, "v_proj": width})
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv_proj.split_outputs(x)
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return result


class SiglipMlp(nn.Module):
    """Two linear layers and GELU in its tanh approximation."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.inner)
        self.fc2 = nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return result


class SiglipLayer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width, config.eps)
        self.self_attn = SiglipAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.width, config.eps)
        self.mlp = SiglipMlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return torch.add(x, self.mlp(self.layer_norm2(x)))


class SiglipEncoder(nn.Module):
    """The stack of transformer blocks."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SiglipLayer(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Siglip(nn.Module):
    """SigLIP2 without its pooling head.

    It maps pixels (N, 3, H, W) and the `positions` of their grid to (N, patches, width).
    """

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.embeddings = SiglipEmbeddings(config)
        self.encoder = SiglipEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.width, config.eps)

    def forward(self, pixels: Tensor, positions: Tensor) -> Tensor:
        result: Tensor = self.post_layernorm(self.encoder(self.embeddings(pixels, positions)))
        return result


class Connector(nn.Sequential):
    """Merges four patches of the tower into one token of the language model."""

    def __init__(self, width: int, text_width: int) -> None:
        merged = width * MERGE**2
        super().__init__(
            nn.LayerNorm(merged),
            nn.Linear(merged, text_width),
            nn.GELU(),
            nn.Linear(text_width, text_width),
        )

    def forward(self, patches: Tensor, grid: tuple[int, int] = (0, 0)) -> Tensor:
        """(N, patches, width) to (N · tokens, text_width), row by row; `grid` counts patches."""
        image = patches.transpose(1, 2).unflatten(2, grid)
        merged = F.pixel_unshuffle(image, MERGE).flatten(2).transpose(1, 2)
        tokens: Tensor = super().forward(merged)
        return tokens.flatten(0, 1)
