# SPDX-License-Identifier: Apache-2.0
"""The language model of both lines, Qwen3's decoder: transformers' model with layers of our own.

transformers builds the model, embeds the tokens and computes the rotary embedding. The layers are
our own for one reason: whatever depends on the tokens only (rotary tables, masks, the positions of
image tokens) is computed on the host beforehand, so that a call neither waits for the device nor
launches needless kernels. Parameters have their names in a checkpoint, except for fused layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common.fused_linear import FusedLinear
from gr00t_policy_core.models.common.token_batch import TokenBatch


class DecoderAttention(nn.Module):
    """Causal grouped-query attention with norms on queries and keys."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, self.head_dim = config.hidden_size, config.head_dim
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        outputs = {
            "q_proj": self.heads * self.head_dim,
            "k_proj": self.groups * self.head_dim,
            "v_proj": self.groups * self.head_dim,
        }
        self.qkv_proj = FusedLinear(width, outputs, bias=config.attention_bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=config.attention_bias)
        self.q_norm = nn.RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = nn.RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, x: Tensor, tokens: TokenBatch) -> Tensor:
        qkv = self.qkv_proj(x).unflatten(-1, (-1, self.head_dim))
        qk = self._norm(qkv)
        # The rotation swaps the halves; the sines have the sign of the first half.
        swapped = qk.roll(self.head_dim // 2, -1)
        rotated = torch.addcmul(qk * tokens.cos, swapped, tokens.sin)
        q, k = rotated.transpose(1, 2).split([self.heads, self.groups], dim=1)
        v = qkv[:, :, self.heads + self.groups :].transpose(1, 2)
        attended = attend(q, k, v, tokens.causal_bias).transpose(1, 2)
        if tokens.padding_mask is not None:
            attended = attended.masked_fill(tokens.padding_mask, 0.0)
        result: Tensor = self.o_proj(attended.flatten(2))
        return result

    def _norm(self, qkv: Tensor) -> Tensor:
        """Normalize queries and keys in one kernel; it normalizes the values too, without use."""
        q, k = self.q_norm.weight, self.k_norm.weight
        weight = torch.cat([q.expand(self.heads, -1), k.expand(self.groups, -1)])
        normed = F.rms_norm(qkv, (self.head_dim,), eps=self.q_norm.eps)
        return normed[:, :, : self.heads + self.groups] * weight


class DecoderMlp(nn.Module):
    """A gated MLP: gate, up and down projection."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers.activations import ACT2FN

        width, inner = config.hidden_size, config.intermediate_size
        self.gate_up_proj = FusedLinear(width, {"gate_proj": inner, "up_proj": inner}, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj.split_outputs(x)
        result: Tensor = self.down_proj(self.activation(gate) * up)
        return result


class DecoderLayer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(config)
        self.mlp = DecoderMlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, tokens: TokenBatch) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), tokens)
        return torch.add(x, self.mlp(self.post_attention_layernorm(x)))


def replace_layers(model: Any) -> Any:
    """Replace the layers of transformers' model by those of this module, without weights."""
    model.layers = nn.ModuleList(DecoderLayer(model.config) for _ in model.layers)
    return model


def decode(
    model: Any, tokens: TokenBatch, image_features: Tensor, deepstack: Sequence[Tensor] = ()
) -> Tensor:
    """Run the language model.

    Args:
        model: From `replace_layers`, with its weights.
        tokens: The tokens of the batch, with their masks and rotary tables.
        image_features: Features that replace the embeddings of image tokens, (image tokens, width).
        deepstack: Features that are added to the image tokens after the first, second, … layer, of
            the same shape.

    Returns:
        (B, S, width), after the last norm.
    """
    x = model.embed_tokens(tokens.ids)
    x = x.flatten(0, 1).index_copy(0, tokens.image_positions, image_features).view_as(x)
    for i, layer in enumerate(model.layers):
        x = layer(x, tokens)
        if i < len(deepstack):
            x = x.flatten(0, 1).index_add(0, tokens.image_positions, deepstack[i]).view_as(x)
    result: Tensor = model.norm(x)
    return result


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Causal grouped-query attention.

    Args:
        q: Queries, (B, heads, S, head_dim).
        k: Keys, (B, groups, S, head_dim).
        v: Values, (B, groups, S, head_dim).
        bias: Hides padding and later tokens, (B, 1, S, S); None for a batch without padding.
    """
    if bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    # The kernels with a mask need as many heads of keys and values as of queries.
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
