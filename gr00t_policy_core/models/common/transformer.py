# SPDX-License-Identifier: Apache-2.0
"""The blocks of the action head: attention, feed-forward, and the diffusion transformer (DiT).

Modules and parameters have their names in a checkpoint, except for fused layers. What depends on
the observation only (keys and values of the vision-language tokens) or on weights only (the
modulation by the timestep) is computed outside the denoising steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common import triton_ops
from gr00t_policy_core.models.common.config import TransformerConfig
from gr00t_policy_core.models.common.fused_linear import (
    FusedLinear,
    linear,
    linear_add,
    linear_gelu,
)

FEED_FORWARD_FACTOR = 4
TIMESTEP_CHANNELS = 256
NORM_EPS = 1e-5
OUTPUT_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Context:
    """The keys and values of a block's cross-attention.

    Args:
        keys: Keys of the vision-language tokens, (B, heads, S, head_dim).
        values: Values of the vision-language tokens, (B, heads, S, head_dim).
        bias: Added to the attention scores, (B, 1, 1, S): 0, or -inf where a token is hidden. None
            hides nothing.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Modulation:
    """The effect of a timestep on the DiT: weight and bias of each norm, (width,) each.

    Args:
        blocks: Weight and bias of the first norm of each block.
        output: Weight and bias of the last norm of the DiT.
    """

    blocks: tuple[tuple[Tensor, Tensor], ...]
    output: tuple[Tensor, Tensor]


class SelfAttention(nn.Module):
    """Multi-head self-attention of tokens (B, T, width), added to `residual`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.to_qkv = FusedLinear(width, {"to_q": width, "to_k": width, "to_v": width})
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, residual: Tensor, bias: Tensor | None = None) -> Tensor:
        parts = linear(self.to_qkv, x).chunk(3, dim=-1)
        q, k, v = (split_heads(part, self.heads) for part in parts)
        return linear_add(self.to_out[0], attend(q, k, v, bias), residual)


class CrossAttention(nn.Module):
    """Multi-head cross-attention of tokens (B, T, width), added to `residual`.

    The DiT computes keys and values.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.to_q = nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, residual: Tensor, context: Context) -> Tensor:
        q = split_heads(linear(self.to_q, x), self.heads)
        attended = attend(q, context.keys, context.values, context.bias)
        return linear_add(self.to_out[0], attended, residual)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, heads · head_dim) to (B, heads, T, head_dim)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of all queries to all keys.

    Args:
        q: Queries, (B, heads, T, head_dim).
        k: Keys, (B, heads, S, head_dim).
        v: Values, (B, heads, S, head_dim).
        bias: Added to the scores, (B, 1, 1, S), or None.

    Returns:
        (B, T, heads · head_dim).
    """
    if triton_ops.suits(q) and k.shape[2] <= triton_ops.MAX_KEYS:
        result: Tensor = triton_ops.attention(q, k, v, bias)
        return result
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return attended.transpose(1, 2).flatten(2)


class TanhGelu(nn.Module):
    """A linear layer and GELU in its tanh approximation."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return linear_gelu(self.proj, x)


class FeedForward(nn.Module):
    """Two linear layers with GELU, added to `residual`.

    Element 1 of `net` is training's dropout.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = FEED_FORWARD_FACTOR * width
        self.net = nn.Sequential(TanhGelu(width, inner), nn.Identity(), nn.Linear(inner, width))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return linear_add(self.net[2], self.net[0](x), residual)


class SelfAttentionBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, NORM_EPS)
        self.attn1 = SelfAttention(config)
        self.norm3 = nn.LayerNorm(config.width, NORM_EPS)
        self.ff = FeedForward(config.width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        x = self.attn1(layer_norm(x, self.norm1.weight, self.norm1.bias), x, bias)
        normed = layer_norm(x, self.norm3.weight, self.norm3.bias)
        result: Tensor = self.ff(normed, x)
        return result


class SelfAttentionTransformer(nn.Module):
    """Self-attention blocks on the vision-language tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(
            SelfAttentionBlock(config) for _ in range(config.layers)
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, S, width) to (B, S, width); `bias` (B, 1, 1, S) is added to the attention scores."""
        for block in self.transformer_blocks:
            x = block(x, bias)
        return x


class AdaLayerNorm(nn.Module):
    """A layer norm whose weight and bias come from the timestep."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def modulation(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the norm: (width,) each."""
        scale, shift = self.linear(F.silu(timestep)).chunk(2, dim=-1)
        return 1 + scale, shift.clone()

    def forward(self, x: Tensor, modulation: tuple[Tensor, Tensor]) -> Tensor:
        return layer_norm(x, *modulation)


class DiTBlock(nn.Module):
    """A block of the DiT with self-attention, or with cross-attention to a context."""

    def __init__(self, config: TransformerConfig, crosses: bool) -> None:
        super().__init__()
        self.norm1 = AdaLayerNorm(config.width)
        self.attn1 = CrossAttention(config) if crosses else SelfAttention(config)
        self.ff = FeedForward(config.width)

    def forward(
        self, x: Tensor, modulation: tuple[Tensor, Tensor], context: Context | None
    ) -> Tensor:
        x = self.attn1(self.norm1(x, modulation), x, context)
        result: Tensor = self.ff(layer_norm(x), x)
        return result


class TimestepEmbedder(nn.Module):
    """Two linear layers on the sinusoids of a timestep."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIMESTEP_CHANNELS, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, sinusoids: Tensor) -> Tensor:
        result: Tensor = self.linear_2(F.silu(self.linear_1(sinusoids)))
        return result


class TimestepEncoder(nn.Module):
    """Encodes a timestep, an integer, to (width,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(width)

    def forward(self, timestep: int) -> Tensor:
        weight = self.timestep_embedder.linear_1.weight
        half = TIMESTEP_CHANNELS // 2
        # diffusers' Timesteps with downscale_freq_shift=1 and flip_sin_to_cos: cosines first.
        exponents = torch.arange(half, dtype=torch.float32, device=weight.device) / (half - 1)
        angles = timestep * torch.exp(-math.log(10000.0) * exponents)
        sinusoids = torch.cat([angles.cos(), angles.sin()])
        embedding: Tensor = self.timestep_embedder(sinusoids.to(weight.dtype))
        return embedding


class DiT(nn.Module):
    """The diffusion transformer: state and action tokens attend to vision-language tokens.

    Args:
        config: Heads, head dimension and number of blocks.
        output_dim: Width of the output, which the action decoder reads.
        context_dim: Width of the vision-language features.
        interleave: Every second block has self-attention instead of cross-attention.
        text_every: The first of every n cross-attention blocks attends to text, the others to
            images. None: all of them attend to all tokens.
    """

    def __init__(
        self,
        config: TransformerConfig,
        output_dim: int,
        context_dim: int,
        *,
        interleave: bool,
        text_every: int | None,
    ) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.timestep_encoder = TimestepEncoder(width)
        crosses = [not (interleave and i % 2) for i in range(config.layers)]
        self.transformer_blocks = nn.ModuleList(DiTBlock(config, cross) for cross in crosses)
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, output_dim)
        # One matrix product gives the keys and values of all blocks that attend to the same tokens.
        crossing = [i for i, cross in enumerate(crosses) if cross]
        self._first = crossing if text_every is None else crossing[::text_every]
        self._second = [i for i in crossing if i not in self._first]
        self.to_kv_first = self._keys_and_values(context_dim, self._first)
        if self._second:
            self.to_kv_second = self._keys_and_values(context_dim, self._second)

    def _keys_and_values(self, context_dim: int, blocks: Sequence[int]) -> FusedLinear:
        width = self.proj_out_2.in_features
        return FusedLinear(
            context_dim,
            {
                f"transformer_blocks.{block}.attn1.{layer}": width
                for block in blocks
                for layer in ("to_k", "to_v")
            },
        )

    def modulation(self, timestep: int) -> Modulation:
        """The weights and biases of all norms for a timestep; they depend on weights only."""
        embedding = self.timestep_encoder(timestep)
        shift, scale = self.proj_out_1(F.silu(embedding)).chunk(2, dim=-1)
        blocks = tuple(block.norm1.modulation(embedding) for block in self.transformer_blocks)
        return Modulation(blocks, (1 + scale, shift.clone()))

    def contexts(
        self, first: tuple[Tensor, Tensor | None], second: tuple[Tensor, Tensor | None]
    ) -> list[Context | None]:
        """The keys and values of each block, the same for every denoising step.

        Args:
            first: For the blocks that attend to text, or to all tokens: features (B, S,
                context_dim), and the bias (B, 1, 1, S) of their scores, or None.
            second: The same for the blocks that attend to images; unused if there are none.
        """
        contexts: list[Context | None] = [None] * len(self.transformer_blocks)
        for layer, blocks, (tokens, bias) in (
            ("to_kv_first", self._first, first),
            ("to_kv_second", self._second, second),
        ):
            if not blocks:
                continue
            # (B, S, 2 · blocks · heads · head_dim) to 2 · blocks times (B, heads, S, head_dim)
            fused = getattr(self, layer)(tokens).unflatten(-1, (2 * len(blocks), self.heads, -1))
            parts = fused.transpose(1, 3).unbind(2)
            for i, block in enumerate(blocks):
                contexts[block] = Context(parts[2 * i], parts[2 * i + 1], bias)
        return contexts

    def forward(
        self, x: Tensor, modulation: Modulation, contexts: Sequence[Context | None]
    ) -> Tensor:
        """(B, T, width) to (B, T, output_dim)."""
        for block, scale_shift, context in zip(
            self.transformer_blocks, modulation.blocks, contexts, strict=True
        ):
            x = block(x, scale_shift, context)
        result: Tensor = linear(
            self.proj_out_2, layer_norm(x, *modulation.output, eps=OUTPUT_NORM_EPS)
        )
        return result


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, eps: float = NORM_EPS
) -> Tensor:
    """Layer norm over the last dimension; weight and bias (width,) are of a layer or a timestep."""
    if triton_ops.suits(x):
        result: Tensor = triton_ops.layer_norm(x, weight, bias, eps)
        return result
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
