# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL's vision tower: transformers' modules, run for images that all have one size.

transformers' own forward takes images of any sizes in one sequence, and reads the sizes back from
the device in each layer. Here images are a batch, and what depends on their size is computed
beforehand.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gr00t_policy_core.models.common.token_batch import PatchPositions

ROPE_BASE = 10000.0


def compute_patch_positions(visual: Any, grid: tuple[int, int]) -> PatchPositions:
    """The positions of a grid (rows, columns) of patches, in the order of `Patchify`.

    Args:
        visual: transformers' ``Qwen3VLVisionModel``, with its weights.
        grid: Rows and columns of patches.
    """
    merge = visual.spatial_merge_size
    weight = visual.pos_embed.weight
    head_dim = visual.config.hidden_size // visual.config.num_heads
    order = _by_token(torch.arange(grid[0] * grid[1]).reshape(grid), merge)

    exponents = torch.arange(0, head_dim // 2, 2, dtype=torch.float32) / (head_dim // 2)
    angles = 1.0 / ROPE_BASE**exponents
    row, column = order // grid[1], order % grid[1]
    halves = torch.cat([row[:, None] * angles, column[:, None] * angles], dim=-1)
    cos, sin = halves.cos(), halves.sin()
    tables = (torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1))

    side = visual.num_grid_per_side
    learned = weight.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(learned, grid, mode="bilinear", align_corners=True)[0]
    embedding = resized.flatten(1).T.index_select(0, order.to(weight.device))
    cos, sin = (table[:, None, None].to(weight.device) for table in tables)
    return PatchPositions(embedding.to(weight.dtype)[None], cos, sin)


def vision_features(
    visual: Any, patches: Tensor, positions: PatchPositions
) -> tuple[Tensor, list[Tensor]]:
    """Run the tower.

    Args:
        visual: transformers' ``Qwen3VLVisionModel``, with its weights.
        patches: From `Patchify`, (images, patches, values of a patch).
        positions: The positions of the images' patches.

    Returns:
        The features of all image tokens, (tokens, width of the language model), and the deepstack
        features that the language model's first layers add, of the same shape.
    """
    embedding, cos, sin = positions
    if cos is None or sin is None:
        raise ValueError("Qwen3-VL's vision tower needs positions with a rotary embedding")
    embed = visual.patch_embed.proj  # a convolution whose kernels do not overlap
    x = F.linear(patches, embed.weight.flatten(1), embed.bias) + embedding
    deepstack: list[Tensor] = []
    for i, block in enumerate(visual.blocks):
        x = x + _attend(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
        if i in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[len(deepstack)]
            deepstack.append(merger(x.flatten(0, 1)))
    return visual.merger(x.flatten(0, 1)), deepstack


def _attend(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Attention within each image; queries and keys are rotated together, in float32."""
    qkv = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1))
    qk = qkv[:, :, :2]
    swapped = qk.roll(qk.shape[-1] // 2, -1)
    rotated = torch.addcmul(qk * cos, swapped, sin).to(x.dtype)
    q, k, v = (part.transpose(1, 2) for part in (*rotated.unbind(2), qkv[:, :, 2]))
    attended = F.scaled_dot_product_attention(q, k, v)
    result: Tensor = attention.proj(attended.transpose(1, 2).flatten(2))
    return result


def _by_token(values: Tensor, merge: int) -> Tensor:
    """Reorder (rows, columns) of patches so that the patches of one token follow one another."""
    rows, columns = values.shape
    blocks = values.reshape(rows // merge, merge, columns // merge, merge)
    return blocks.permute(0, 2, 1, 3).reshape(-1)
