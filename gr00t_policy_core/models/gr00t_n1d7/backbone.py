# SPDX-License-Identifier: Apache-2.0
"""The backbone of GR00T N1.7: the first layers of Qwen3-VL (Cosmos-Reason2), from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gr00t_policy_core.models.common.checkpoint import read_json
from gr00t_policy_core.models.common.head import Features
from gr00t_policy_core.models.common.images import ImagePipeline, Pictures
from gr00t_policy_core.models.common.prompts import (
    Prompts,
    Tokenizer,
    formalize,
    pad_left,
    place_features,
)
from gr00t_policy_core.models.gr00t_n1d7.vision import (
    PatchConfig,
    rope_positions,
    to_patches,
)
from gr00t_policy_core.resize import Frame

CACHED_PROMPTS = 64

# Where the chat template is, best first.
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
NEEDED_FILES = (
    ("preprocessor_config.json",),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
    TEMPLATES,
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

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Tokenizer,
        pipeline: ImagePipeline,
        patches: PatchConfig,
        formalize_language: bool,
    ) -> None:
        self.network: Any = network
        self._tokenizer = tokenizer
        self.pipeline = pipeline
        self._patches = patches
        self._formalize = formalize_language
        self._image_id = int(self.network.config.image_token_id)
        self._encoded = lru_cache(CACHED_PROMPTS)(self._encode)

    def pictures(self, rows: Sequence[Sequence[Frame]]) -> Pictures:
        """`values` are float32 (pictures · patches, values of a patch)."""
        frames = [self.pipeline(frame) for row in rows for frame in row]
        values, grid = to_patches(frames, self._patches)
        tokens = grid[0] * grid[1] // self._patches.merge**2
        return Pictures(values, grid, len(frames) // len(rows), tokens)

    def prompts(self, texts: Sequence[str], pictures: Pictures) -> Prompts:
        rows = [self._encoded(text, pictures.each, pictures.tokens) for text in texts]
        return pad_left(rows, self._tokenizer.pad_id, self._image_id)

    def features(self, pictures: Pictures, prompts: Prompts) -> Features:
        model = self.network
        weight = model.language_model.embed_tokens.weight
        device, dtype = weight.device, weight.dtype
        merge = self._patches.merge
        positions = rope_positions(prompts.images, prompts.mask, pictures.grid, merge)
        ids, mask, images, causal = (
            torch.from_numpy(array).to(device)
            for array in (prompts.ids, prompts.mask, prompts.images, prompts.causal_mask())
        )

        count = pictures.each * len(prompts.ids)
        grids = torch.tensor([[1, *pictures.grid]] * count, device=device)
        seen, deepstack = _vision(model.visual, pictures.values.to(device, dtype), grids)
        embeddings = model.language_model.embed_tokens(ids)
        output = model.language_model(
            inputs_embeds=place_features(embeddings, prompts.images, seen),
            attention_mask=causal,
            position_ids=torch.from_numpy(positions).to(device),
            visual_pos_masks=images,
            deepstack_visual_embeds=deepstack,
            use_cache=False,
        )
        return Features(output.last_hidden_state, mask, images)

    def _encode(self, text: str, images: int, tokens: int) -> tuple[int, ...]:
        """The tokens of an instruction after `images` pictures of `tokens` tokens each."""
        instruction = formalize(text) if self._formalize else text
        content = [{"type": "image"}] * images + [{"type": "text", "text": instruction}]
        encoded = self._tokenizer.encode(self._tokenizer.chat(content))
        result: list[int] = []
        for token in encoded:
            result.extend([token] * (tokens if token == self._image_id else 1))
        return tuple(result)


def _vision(visual: Any, pixels: Tensor, grids: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What the vision tower saw, and its deepstack features, from either line of transformers."""
    output = visual(pixels, grid_thw=grids)
    if isinstance(output, tuple):  # 4.57
        return output
    return output.pooler_output, output.deepstack_features  # 5


def build_network(config: Mapping[str, Any], select_layer: int) -> nn.Module:
    """Qwen3-VL without weights and without its last norm, as transformers builds it.

    GR00T's action head reads what the last kept layer gives, before the norm that follows: that
    norm is left out, whatever a release of transformers takes for the last hidden state.

    Args:
        config: The backbone's config.json.
        select_layer: How many decoder layers to keep.
    """
    from transformers import Qwen3VLConfig, Qwen3VLModel

    cut = {**config, "text_config": {**config["text_config"], "num_hidden_layers": select_layer}}
    settings = Qwen3VLConfig(**{k: v for k, v in cut.items() if k not in ("dtype", "torch_dtype")})
    settings._attn_implementation = "sdpa"
    with torch.device("meta"):
        network = Qwen3VLModel(settings)
    network.language_model.norm = nn.Identity()
    module: nn.Module = network
    return module


def restore_buffers(network: Any, device: torch.device) -> None:
    """Compute the rotary frequencies, which are in no checkpoint, in float32."""
    language, visual = network.language_model, network.visual
    with torch.device(device):
        language.rotary_emb = type(language.rotary_emb)(config=language.config)
        rotary = type(visual.rotary_pos_emb)
        head_dim = visual.config.hidden_size // visual.config.num_heads
        try:
            visual.rotary_pos_emb = rotary(visual.config)  # transformers 5
        except TypeError:
            visual.rotary_pos_emb = rotary(head_dim // 2)  # 4.57


def read_patch_config(folder: Path) -> PatchConfig:
    return PatchConfig.read(read_json(folder / "preprocessor_config.json"))
