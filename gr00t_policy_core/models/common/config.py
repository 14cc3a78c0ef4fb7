# SPDX-License-Identifier: Apache-2.0
"""The action head's part of config.json; each model line has defaults for absent fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.json_fields import is_integer


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The shape of a stack of transformer blocks: its width is heads · head_dim."""

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
        state_steps_per_token: State steps in one token: the whole history in N1.7, one in N1.6.
        attend_text_every_n_blocks: Every n-th cross-attention block of the DiT attends to text, the
            others to images. None means that each block attends to all tokens.
        vl_self_attention: Transformer blocks on the vision-language tokens; None for none.
        dit_output_dim: Width of the DiT's output, which the action decoder reads.
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
        """Whether some attention sees the padding of rows, as in the reference."""
        return self.vl_self_attention is not None or self.attend_text_every_n_blocks is None


# The head of GR00T-N1.7-3B and of N1.6's Gr00tN1d6Config defaults. They differ in the sizes of
# states, actions and chunks, which are in the config.py of each model line.
PUBLISHED_HEAD: dict[str, Any] = {
    "backbone_embedding_dim": 2048,
    "hidden_size": 1024,
    "input_embedding_dim": 1536,
    "max_seq_len": 1024,
    "add_pos_embed": True,
    "use_vlln": True,
    "use_alternate_vl_dit": True,
    "attend_text_every_n_blocks": 2,
    "num_inference_timesteps": 4,
    "num_timestep_buckets": 1000,
    "diffusion_model_cfg": {
        "num_layers": 32,
        "num_attention_heads": 32,
        "attention_head_dim": 48,
        "output_dim": 1024,
        "norm_type": "ada_norm",
        "interleave_self_attention": True,
        "positional_embeddings": None,
    },
}

# What the blocks here compute; for a checkpoint with other values the actions would be wrong.
SUPPORTED = {
    "activation_fn": ("gelu-approximate",),
    "attention_bias": (True,),
    "norm_elementwise_affine": (False,),
    "norm_eps": (1e-5,),
    "norm_type": ("ada_norm",),
    "positional_embeddings": (None,),
    "upcast_attention": (False,),
}


def read_config(config: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a config.json with the published values of its model line, and check its fields.

    Args:
        config: The content of config.json.
        published: The values of the line's published checkpoint, which also define the type of each
            field.

    Returns:
        All fields. A group of fields is None if it is null, empty, or has 0 layers: the network
        then lacks that part.

    Raises:
        SpecError: A field has another type, or a number is not positive; the message names all.
    """
    merged = {**published, **config}
    problems = list(_kind_problems("", merged, published))
    groups = {name: fields for name, fields in published.items() if isinstance(fields, dict)}
    for name, fields in groups.items():
        given = merged[name]
        if not isinstance(given or {}, dict):
            problems.append(f"{name} must be an object, got {given!r}")
        elif not given or given.get("num_layers") == 0:
            merged[name] = None
        else:
            merged[name] = {**fields, **given}
            problems += _kind_problems(f"{name}.", merged[name], fields)
    if problems:
        raise SpecError("bad config.json", problems)
    return merged


def _kind_problems(
    prefix: str, given: Mapping[str, Any], published: Mapping[str, Any]
) -> Iterator[str]:
    for name, usual in published.items():
        value = given[name]
        if isinstance(usual, bool):
            fits, kind = isinstance(value, bool), "true or false"
        elif isinstance(usual, int):
            fits, kind = is_integer(value), "a positive integer"
        elif isinstance(usual, str):
            fits, kind = isinstance(value, str) and bool(value), "a string"
        else:
            continue
        if not fits:
            yield f"{prefix}{name} must be {kind}, got {value!r}"


def read_head_config(config: Mapping[str, Any], state_steps_per_token: int) -> HeadConfig:
    """Read the shape of the action head.

    Args:
        config: The fields of config.json, from `read_config`.
        state_steps_per_token: State steps in one token, which the model line decides.

    Raises:
        SpecError: A field has a value that the head does not implement.
    """
    dit, vl = config["diffusion_model_cfg"], config.get("vl_self_attention_cfg")
    if dit is None:
        raise SpecError("bad config.json", ["diffusion_model_cfg must have layers"])
    problems = list(_unsupported("diffusion_model_cfg", dit, SUPPORTED))
    alternate = config["use_alternate_vl_dit"]
    if alternate and not dit["interleave_self_attention"]:
        problems.append("use_alternate_vl_dit needs interleave_self_attention")
    if config["add_pos_embed"] and config["action_horizon"] > config["max_seq_len"]:
        problems.append("action_horizon is more than max_seq_len")
    if vl is not None:
        problems += _unsupported("vl_self_attention_cfg", vl, {k: SUPPORTED[k] for k in VL_FIELDS})
        if config["backbone_embedding_dim"] != _transformer(vl).width:
            problems.append("vl_self_attention_cfg must be as wide as backbone_embedding_dim")
    if problems:
        raise SpecError("config.json has unsupported values", problems)
    return HeadConfig(
        **{name: config[name] for name in PLAIN_FIELDS},
        state_steps_per_token=state_steps_per_token,
        attend_text_every_n_blocks=config["attend_text_every_n_blocks"] if alternate else None,
        interleave_self_attention=dit["interleave_self_attention"],
        dit=_transformer(dit),
        dit_output_dim=dit["output_dim"],
        vl_self_attention=None if vl is None else _transformer(vl),
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
        heads=fields["num_attention_heads"],
        head_dim=fields["attention_head_dim"],
        layers=fields["num_layers"],
    )


def _unsupported(
    name: str, fields: Mapping[str, Any], supported: Mapping[str, tuple[Any, ...]]
) -> list[str]:
    return [
        f"{name}.{field} must be {values[0]!r}, got {fields[field]!r}"
        for field, values in supported.items()
        if field in fields and fields[field] not in values
    ]
