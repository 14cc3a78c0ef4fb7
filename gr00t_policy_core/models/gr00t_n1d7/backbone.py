# SPDX-License-Identifier: Apache-2.0
"""The backbone of GR00T N1.7: the first layers of Qwen3-VL (Cosmos-Reason2), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gr00t_policy_core.models.common.decoder import decode, replace_layers
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.image_processing import ImagePipeline, check_aspect
from gr00t_policy_core.models.common.prompts import (
    Prompts,
    Tokenizer,
    check_image_tokens,
    formalize,
    pad,
)
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, TokenBatch
from gr00t_policy_core.models.gr00t_n1d7.tower import compute_patch_positions, vision_features
from gr00t_policy_core.models.gr00t_n1d7.vision import (
    PatchConfig,
    Patchify,
    image_token_grid,
    resize_to_tokens,
    resize_to_tokens_on_device,
    rope_positions,
)
from gr00t_policy_core.resize import Frame

CACHED_PROMPTS = 64
CACHED_GRIDS = 16  # 0.7 MB each, for images of 88 tokens in bfloat16

# Files that may hold the chat template, in order of preference.
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
NEEDED_FILES = (
    ("preprocessor_config.json",),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
    TEMPLATES,
)
NEEDED_FIELDS = ("image_token_id", "text_config", "vision_config")  # of config.json


# Layers that may be float8 (see `common.float8`). The language model's attention, the mergers and
# the action head lose more than twice as much accuracy as in bfloat16.
FLOAT8_LAYERS = (
    r"visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc[12])"
    r"|language_model\.layers\.\d+\.mlp\.(gate_up|down)_proj"
)


class QwenBackbone:
    """Qwen3-VL up to a layer of its language model.

    Args:
        network: From `build_network`, with its weights.
        tokenizer: The backbone's tokenizer with its chat template.
        pipeline: The checkpoint's image pipeline.
        patches: The patch size and normalization of the vision tower's input.
        formalize_language: Clean instructions as in training, see `formalize`.
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
        self._patchify = Patchify.make(patches, self.network.visual.pos_embed.weight.device)
        self._encoded = lru_cache(CACHED_PROMPTS)(self._encode)
        self._cached_positions = lru_cache(CACHED_GRIDS)(self._compute_positions)

    def images(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        frames = [self.pipeline(frame) for row in rows for frame in row]
        return resize_to_tokens(frames, self._patches)

    def images_on_device(self, frames: Tensor) -> Tensor:
        return resize_to_tokens_on_device(self.pipeline.on_device(frames), self._patches)

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        check_aspect(height, width)
        return ImageGrid(count, *image_token_grid(height, width, self._patches))

    def patch_positions(self, grid: ImageGrid) -> PatchPositions:
        return self._cached_positions(grid.rows, grid.columns)

    def _compute_positions(self, rows: int, columns: int) -> PatchPositions:
        merge = self._patches.merge
        with torch.inference_mode():
            return compute_patch_positions(self.network.visual, (rows * merge, columns * merge))

    def pixels(self, images: Tensor) -> Tensor:
        """The input of the vision tower, float32 (images, patches, values of a patch)."""
        return self._patchify(images)

    def prompts(self, texts: Sequence[str], grid: ImageGrid, multiple: int = 1) -> Prompts:
        rows = [self._encoded(text, grid) for text in texts]
        return pad(rows, self._tokenizer.pad_id, self._image_id, multiple)

    def rotary(self, prompts: Prompts, grid: ImageGrid) -> tuple[Tensor, Tensor]:
        positions = rope_positions(prompts.image_mask, prompts.mask, grid.rows, grid.columns)
        language = self.network.language_model
        like = torch.empty(0, dtype=language.embed_tokens.weight.dtype)
        cos, sin = language.rotary_emb(like, torch.from_numpy(positions))
        return cos, sin

    def features(self, images: Tensor, tokens: TokenBatch) -> Tensor:
        model = self.network
        patches = self.pixels(images).to(model.visual.pos_embed.weight.dtype)
        image_features, deepstack = vision_features(model.visual, patches, tokens.patch_positions)
        return decode(model.language_model, tokens, image_features, deepstack)

    def _encode(self, text: str, grid: ImageGrid) -> tuple[int, ...]:
        """The tokens of the images, followed by those of their instruction."""
        instruction = formalize(text) if self._formalize else text
        content = [{"type": "image"}] * grid.count + [{"type": "text", "text": instruction}]
        encoded = self._tokenizer.encode(self._tokenizer.chat(content))
        check_image_tokens(encoded, self._image_id, grid.count, text)
        result: list[int] = []
        for token in encoded:
            result.extend([token] * (grid.tokens_per_image if token == self._image_id else 1))
        return tuple(result)


def build_network(config: Mapping[str, Any], select_layer: int) -> nn.Module:
    """Build transformers' Qwen3-VL without weights and without its last norm.

    GR00T's action head reads the output of the last layer, before the norm that follows. Releases
    of transformers differ in whether their last hidden state includes that norm, so the norm is
    replaced. The layers of the language model are those of
    `gr00t_policy_core.models.common.decoder`.

    Args:
        config: The content of the backbone's config.json.
        select_layer: Number of decoder layers to keep.
    """
    from transformers import Qwen3VLConfig, Qwen3VLModel

    cut = {**config, "text_config": {**config["text_config"], "num_hidden_layers": select_layer}}
    settings = Qwen3VLConfig(**{k: v for k, v in cut.items() if k not in ("dtype", "torch_dtype")})
    with torch.device("meta"):
        network = Qwen3VLModel(settings)
        replace_layers(network.language_model)
    network.language_model.norm = nn.Identity()
    module: nn.Module = network
    return module


def restore_buffers(network: Any) -> None:
    """Compute the language model's rotary frequencies in float32; checkpoints do not store them.

    They stay on the host, as the prompts do. `compute_patch_positions` computes those of the vision
    tower.
    """
    language = network.language_model
    language.rotary_emb = type(language.rotary_emb)(config=language.config)


def read_patch_config(folder: Path) -> PatchConfig:
    """Read preprocessor_config.json; raises `CheckpointError` that names a missing field."""
    needed = ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std")
    return PatchConfig.read(read_json(folder / "preprocessor_config.json", *needed))
