# SPDX-License-Identifier: Apache-2.0
"""The backbone of GR00T N1.7: the first layers of Qwen3-VL (Cosmos-Reason2), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gr00t_policy_core.models.common.decoder import decode, with_our_layers
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.image_processing import ImagePipeline, check_aspect
from gr00t_policy_core.models.common.prompts import (
    Prompts,
    Tokenizer,
    check_image_tokens,
    formalize,
    pad,
)
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, Tokens
from gr00t_policy_core.models.gr00t_n1d7.tower import compute_patch_positions, look
from gr00t_policy_core.models.gr00t_n1d7.vision import (
    PatchConfig,
    Patching,
    fit,
    fit_on_device,
    image_token_grid,
    rope_positions,
)
from gr00t_policy_core.resize import Frame

CACHED_PROMPTS = 64
CACHED_GRIDS = 16  # of 0.7 MB each, for pictures of 88 tokens and bfloat16

# Where the chat template is, best first.
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
NEEDED_FILES = (
    ("preprocessor_config.json",),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
    TEMPLATES,
)
NEEDED_FIELDS = ("image_token_id", "text_config", "vision_config")  # of config.json


# What may be float8 (see `common.float8`); attention of the language model, the mergers and the
# action head lose more than twice what bfloat16 does.
FLOAT8_LAYERS = (
    r"visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc[12])"
    r"|language_model\.layers\.\d+\.mlp\.(gate_up|down)_proj"
)


class QwenBackbone:
    """Qwen3-VL up to a layer.

    Args:
        network: From `build_network`, with its weights.
        tokenizer: Of the backbone.
        pipeline: What the checkpoint does to frames first.
        patches: How the vision tower's input is cut.
        formalize_language: Clean the instructions, as in training.
    """

    float8_layers = FLOAT8_LAYERS

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Tokenizer,
        pipeline: ImagePipeline,
        patches: PatchConfig,
        formalize_language: bool,
    ) -> None:
        self.network: Any = network
        self.pipeline = pipeline
        self._tokenizer = tokenizer
        self._patches = patches
        self._formalize = formalize_language
        self._image_id = int(self.network.config.image_token_id)
        self._patching = Patching.make(patches, self.network.visual.pos_embed.weight.device)
        self._encoded = lru_cache(CACHED_PROMPTS)(self._encode)
        self._kept_places = lru_cache(CACHED_GRIDS)(self._find_places)

    def pictures(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        return fit([self.pipeline(frame) for row in rows for frame in row], self._patches)

    def images_on_device(self, frames: Tensor) -> Tensor:
        return fit_on_device(self.pipeline.on_device(frames), self._patches)

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        check_aspect(height, width)
        return ImageGrid(count, *image_token_grid(height, width, self._patches))

    def places(self, pictures: ImageGrid) -> PatchPositions:
        return self._kept_places(pictures.rows, pictures.columns)

    def _find_places(self, rows: int, columns: int) -> PatchPositions:
        merge = self._patches.merge
        with torch.inference_mode():
            return compute_patch_positions(self.network.visual, (rows * merge, columns * merge))

    def pixels(self, pictures: Tensor) -> Tensor:
        """What the vision tower reads, float32 (pictures, patches, values of a patch)."""
        return self._patching(pictures)

    def prompts(self, texts: Sequence[str], pictures: ImageGrid, multiple: int = 1) -> Prompts:
        rows = [self._encoded(text, pictures) for text in texts]
        return pad(rows, self._tokenizer.pad_id, self._image_id, multiple)

    def rotary(self, prompts: Prompts, pictures: ImageGrid) -> tuple[Tensor, Tensor]:
        positions = rope_positions(prompts.images, prompts.mask, pictures.rows, pictures.columns)
        language = self.network.language_model
        like = torch.empty(0, dtype=language.embed_tokens.weight.dtype)
        cos, sin = language.rotary_emb(like, torch.from_numpy(positions))
        return cos, sin

    def features(self, pictures: Tensor, tokens: Tokens) -> Tensor:
        model = self.network
        patches = self.pixels(pictures).to(model.visual.pos_embed.weight.dtype)
        seen, deepstack = look(model.visual, patches, tokens.places)
        return decode(model.language_model, tokens, seen, deepstack)

    def _encode(self, text: str, pictures: ImageGrid) -> tuple[int, ...]:
        """The tokens of an instruction after those of its pictures."""
        instruction = formalize(text) if self._formalize else text
        content = [{"type": "image"}] * pictures.count + [{"type": "text", "text": instruction}]
        encoded = self._tokenizer.encode(self._tokenizer.chat(content))
        check_image_tokens(encoded, self._image_id, pictures.count, text)
        result: list[int] = []
        for token in encoded:
            result.extend([token] * (pictures.tokens_each if token == self._image_id else 1))
        return tuple(result)


def build_network(config: Mapping[str, Any], select_layer: int) -> nn.Module:
    """Qwen3-VL without weights and without its last norm, as transformers builds it.

    GR00T's action head reads what the last kept layer gives, before the norm that follows: that
    norm is left out, whatever a release of transformers takes for the last hidden state. The
    language model's layers are those of `gr00t_policy_core.models.common.decoder`.

    Args:
        config: The backbone's config.json.
        select_layer: How many decoder layers to keep.
    """
    from transformers import Qwen3VLConfig, Qwen3VLModel

    cut = {**config, "text_config": {**config["text_config"], "num_hidden_layers": select_layer}}
    settings = Qwen3VLConfig(**{k: v for k, v in cut.items() if k not in ("dtype", "torch_dtype")})
    with torch.device("meta"):
        network = Qwen3VLModel(settings)
        with_our_layers(network.language_model)
    network.language_model.norm = nn.Identity()
    module: nn.Module = network
    return module


def restore_buffers(network: Any) -> None:
    """Compute the rotary frequencies, which are in no checkpoint, in float32.

    They stay on the host, where prompts are; the vision tower's are made with its `Places`.
    """
    language = network.language_model
    language.rotary_emb = type(language.rotary_emb)(config=language.config)


def read_patch_config(folder: Path) -> PatchConfig:
    """Of preprocessor_config.json; raises `CheckpointError` naming what that lacks."""
    needed = ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std")
    return PatchConfig.read(read_json(folder / "preprocessor_config.json", *needed))
