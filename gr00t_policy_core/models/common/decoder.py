# SPDX-License-Identifier: Apache-2.0
"""The language model of both lines, Qwen3's decoder: transformers' model with layers of our own.

transformers builds the model, embeds the tokens and knows the rotary embedding. The layers are
written here for one reason: what depends on the tokens only (rotary tables, masks, where pictures
stand) is made on the host beforehand, so that a call neither waits for the device nor starts more
kernels than it must. Parameters have their names in a checkpoint, but for layers that are fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common.fused_linear import FusedLinear
from gr00t_policy_core.models.common.token_batch import Tokens


class Attention(nn.Module):
    """Causal attention with fewer heads for keys and values, and norms on queries and keys."""

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

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        qkv = self.qkv_proj(x).unflatten(-1, (-1, self.head_dim))
        qk = self._norm(qkv)
        # Rotates halves: the halves change places, and the table has the sign of the first.
        swapped = qk.roll(self.head_dim // 2, -1)
        rotated = torch.addcmul(qk * tokens.cos, swapped, tokens.sin)
        q, k = rotated.transpose(1, 2).split([self.heads, self.groups], dim=1)
        v = qkv[:, :, self.heads + self.groups :].transpose(1, 2)
        attended = attend(q, k, v, tokens.causal).transpose(1, 2)
        if tokens.silent is not None:
            attended = attended.masked_fill(tokens.silent, 0.0)
        result: Tensor = self.o_proj(attended.flatten(2))
        return result

    def _norm(self, qkv: Tensor) -> Tensor:
        """Queries and keys, normed: in one go, which values suffer for nothing."""
        q, k = self.q_norm.weight, self.k_norm.weight
        weight = torch.cat([q.expand(self.heads, -1), k.expand(self.groups, -1)])
        normed = F.rms_norm(qkv, (self.head_dim,), eps=self.q_norm.eps)
        return normed[:, :, : self.heads + self.groups] * weight


class Mlp(nn.Module):
    """Gate, up and down."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers.activations import ACT2FN

        width, inner = config.hidden_size, config.intermediate_size
        self.gate_up_proj = FusedLinear(width, {"gate_proj": inner, "up_proj": inner}, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj.apart(x)
        result: Tensor = self.down_proj(self.activation(gate) * up)
        return result


class DecoderLayer(nn.Module):
    """A pre-norm block."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), tokens)
        return torch.add(x, self.mlp(self.post_attention_layernorm(x)))


def with_our_layers(model: Any) -> Any:
    """The same model of transformers, its layers replaced by those above, still without weights."""
    model.layers = nn.ModuleList(DecoderLayer(model.config) for _ in model.layers)
    return model


def decode(model: Any, tokens: Tokens, seen: Tensor, deepstack: Sequence[Tensor] = ()) -> Tensor:
    """Run the language model.

    Args:
        model: From `with_our_layers`, with its weights.
        tokens: What it reads.
        seen: What stands where the tokens of pictures are, (their number, width).
        deepstack: What is added there after the first, second, … layer.

    Returns:
        (B, S, width), after the last norm.
    """
    x = model.embed_tokens(tokens.ids)
    x = x.flatten(0, 1).index_copy(0, tokens.images, seen).view_as(x)
    for i, layer in enumerate(model.layers):
        x = layer(x, tokens)
        if i < len(deepstack):
            x = x.flatten(0, 1).index_add(0, tokens.images, deepstack[i]).view_as(x)
    result: Tensor = model.norm(x)
    return result


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Causal attention; queries (B, heads, S, head_dim), keys and values with fewer heads.

    Args:
        bias: (B, 1, S, S), what keeps tokens from padding and from the future; None where nothing
            is padded.
    """
    if bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    # The kernels that take a mask want as many heads everywhere.
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
