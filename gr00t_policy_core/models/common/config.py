# SPDX-License-Identifier: Apache-2.0
"""The action head's part of config.json; every line brings the values for what that leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.errors import SpecError


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The shape of a stack of transformer blocks."""

    heads: int
    head_dim: int
    layers: int

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The shape of an action head, under the names of config.json.

    Args:
        state_steps_per_token: States that make one token: all of the history in N1.7, one in N1.6.
        attend_text_every_n_blocks: None where the DiT attends to all tokens in each block, else
            how its cross-attention alternates between text and images.
        vl_self_attention: Blocks on the vision-language tokens, None for none.
        dit_output_dim: Width of what the DiT gives to the action decoder.
    """

    backbone_embedding_dim: int
    hidden_size: int
    input_embedding_dim: int
    max_state_dim: int
    max_action_dim: int
    action_horizon: int
    max_seq_len: int
    add_pos_embed: bool
    use_vlln: bool
    num_inference_timesteps: int
    num_timestep_buckets: int
    state_steps_per_token: int
    attend_text_every_n_blocks: int | None
    interleave_self_attention: bool
    dit: TransformerConfig
    dit_output_dim: int
    vl_self_attention: TransformerConfig | None

    @property
    def attends_to_padding(self) -> bool:
        """Whether some attention sees what rows are filled up with, as in the reference."""
        return self.vl_self_attention is not None or self.attend_text_every_n_blocks is None


# What the blocks here compute; a checkpoint that says otherwise would get wrong numbers.
SUPPORTED = {
    "activation_fn": ("gelu-approximate",),
    "attention_bias": (True,),
    "norm_elementwise_affine": (False,),
    "norm_eps": (1e-5,),
    "norm_type": ("ada_norm",),
    "positional_embeddings": (None,),
    "upcast_attention": (False,),
}


def read_head_config(
    config: Mapping[str, Any], published: Mapping[str, Any], state_steps_per_token: int
) -> HeadConfig:
    """Read the head's shape from config.json.

    Args:
        config: config.json.
        published: The values of the line's published checkpoint, for what `config` leaves out.
        state_steps_per_token: As in `HeadConfig`.

    Raises:
        SpecError: A field has a value that is not supported.
    """
    merged = {**published, **config}
    dit = {**published["diffusion_model_cfg"], **merged["diffusion_model_cfg"]}
    vl = merged.get("vl_self_attention_cfg") or {}
    problems = [
        *_problems("diffusion_model_cfg", dit, SUPPORTED),
        *_problems("vl_self_attention_cfg", vl, {k: SUPPORTED[k] for k in VL_FIELDS}),
    ]
    alternate = bool(merged["use_alternate_vl_dit"])
    if alternate and not dit["interleave_self_attention"]:
        problems.append("use_alternate_vl_dit needs interleave_self_attention")
    if merged["backbone_embedding_dim"] != _transformer(vl).width and vl.get("num_layers", 0):
        problems.append("vl_self_attention_cfg must be as wide as backbone_embedding_dim")
    if problems:
        raise SpecError("config.json asks for what is not supported", problems)
    return HeadConfig(
        **{name: merged[name] for name in PLAIN_FIELDS},
        state_steps_per_token=state_steps_per_token,
        attend_text_every_n_blocks=merged["attend_text_every_n_blocks"] if alternate else None,
        interleave_self_attention=bool(dit["interleave_self_attention"]),
        dit=_transformer(dit),
        dit_output_dim=dit["output_dim"],
        vl_self_attention=_transformer(vl) if vl.get("num_layers", 0) else None,
    )


PLAIN_FIELDS = (
    "backbone_embedding_dim",
    "hidden_size",
    "input_embedding_dim",
    "max_state_dim",
    "max_action_dim",
    "action_horizon",
    "max_seq_len",
    "add_pos_embed",
    "use_vlln",
    "num_inference_timesteps",
    "num_timestep_buckets",
)
VL_FIELDS = ("activation_fn", "attention_bias", "positional_embeddings", "upcast_attention")


def _transformer(fields: Mapping[str, Any]) -> TransformerConfig:
    return TransformerConfig(
        heads=fields.get("num_attention_heads", 0),
        head_dim=fields.get("attention_head_dim", 0),
        layers=fields.get("num_layers", 0),
    )


def _problems(
    name: str, fields: Mapping[str, Any], supported: Mapping[str, tuple[Any, ...]]
) -> list[str]:
    return [
        f"{name}.{field} must be {values[0]!r}, got {fields[field]!r}"
        for field, values in supported.items()
        if field in fields and fields[field] not in values
    ]
