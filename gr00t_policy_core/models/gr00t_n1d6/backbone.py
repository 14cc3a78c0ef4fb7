# SPDX-License-Identifier: Apache-2.0
"""The backbone of GR00T N1.6, Eagle: SigLIP2, a connector, and the first layers of Qwen3."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.decoder import decode, replace_layers
from gr00t_policy_core.models.common.image_processing import ImagePipeline, check_aspect
from gr00t_policy_core.models.common.prompts import (
    Prompts,
    Tokenizer,
    check_image_tokens,
    formalize,
    pad,
)
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, TokenBatch
from gr00t_policy_core.models.gr00t_n1d6.vision import (
    MERGE,
    PATCH,
    Connector,
    Siglip,
    SiglipConfig,
    image_token_grid,
    resize_to_tokens,
    resize_to_tokens_on_device,
    to_pixels,
)
from gr00t_policy_core.resize import Frame

CACHED_PROMPTS = 64
CACHED_GRIDS = 16  # 1 MB each, for images of 108 tokens in bfloat16

TEMPLATES = ("chat_template.json",)  # tokenizer_config.json has a different template
NEEDED_FILES = (
    TEMPLATES,
    ("tokenizer_config.json",),
    ("vocab.json", "tokenizer.json"),
    ("merges.txt", "tokenizer.json"),
)
NEEDED_FIELDS = ("image_token_index", "text_config", "vision_config")  # of config.json
IMAGE_TEXT = re.compile(r"<image-(\d+)>")  # the chat template's text for the n-th image


class EagleNetwork(nn.Module):
    """Eagle's modules; parameters have their names in a checkpoint.

    Args:
        config: The content of the backbone's config.json.
        select_layer: Number of layers of the language model to keep.
    """

    def __init__(self, config: Mapping[str, Any], select_layer: int) -> None:
        super().__init__()
        from transformers import Qwen3Config, Qwen3Model

        vision = SiglipConfig.read(config["vision_config"])
        text = {
            **config["text_config"],
            "num_hidden_layers": select_layer,
            "max_window_layers": select_layer,
        }
        settings = Qwen3Config(**{k: v for k, v in text.items() if k not in NOT_OURS})
        self.vision_model = nn.ModuleDict({"vision_model": Siglip(vision)})
        self.mlp1 = Connector(vision.width, settings.hidden_size)
        language = replace_layers(Qwen3Model(settings))
        self.language_model = nn.ModuleDict({"model": language})

    def restore_buffers(self) -> None:
        """Compute the rotary frequencies on the host in float32; checkpoints do not store them."""
        model: Any = self.language_model["model"]
        model.rotary_emb = type(model.rotary_emb)(config=model.config)


# Fields about the file itself, or about dtypes and attention, which this module chooses.
NOT_OURS = ("_attn_implementation_autoset", "_name_or_path", "architectures", "torch_dtype")


# Layers that may be float8 (see `common.float8`). The language model, the connector and the action
# head lose more than twice as much accuracy as in bfloat16.
FLOAT8_LAYERS = (
    r"vision_model\.vision_model\.encoder\.layers\.\d+"
    r"\.(self_attn\.(qkv|out)_proj|mlp\.fc[12])"
)


class EagleBackbone:
    """Eagle up to a layer of its language model, followed by that model's last norm.

    Args:
        network: The modules, with their weights.
        config: The content of the backbone's config.json.
        tokenizer: The backbone's tokenizer with its chat template.
        pipeline: The checkpoint's image pipeline.
        formalize_language: Clean instructions as in training, see `formalize`.
    """

    float8_layers = FLOAT8_LAYERS

    def __init__(
        self,
        network: EagleNetwork,
        config: Mapping[str, Any],
        tokenizer: Tokenizer,
        pipeline: ImagePipeline,
        formalize_language: bool,
    ) -> None:
        self.network = network
        self.pipeline = pipeline
        self._tokenizer = tokenizer
        self._formalize = formalize_language
        self._image_id = int(config["image_token_index"])
        self._image_token = tokenizer.token(self._image_id)
        self._encoded = lru_cache(CACHED_PROMPTS)(self._encode)
        self._cached_positions = lru_cache(CACHED_GRIDS)(self._compute_positions)

    def images(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        return resize_to_tokens([self.pipeline(frame) for row in rows for frame in row])

    def images_on_device(self, frames: Tensor) -> Tensor:
        return resize_to_tokens_on_device(self.pipeline.on_device(frames))

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        check_aspect(height, width)
        return ImageGrid(count, *image_token_grid(height, width))

    def patch_positions(self, grid: ImageGrid) -> PatchPositions:
        return self._cached_positions(grid.rows, grid.columns)

    def _compute_positions(self, rows: int, columns: int) -> PatchPositions:
        tower: Any = self.network.vision_model["vision_model"]
        with torch.inference_mode():
            positions = tower.embeddings.positions((rows * MERGE, columns * MERGE))
        return PatchPositions(positions, None, None)

    def pixels(self, images: Tensor) -> Tensor:
        """The input of the vision tower, float32 (images, 3, H, W)."""
        return to_pixels(images)

    def prompts(self, texts: Sequence[str], grid: ImageGrid, multiple: int = 1) -> Prompts:
        rows = [self._encoded(text, grid) for text in texts]
        return pad(rows, self._tokenizer.pad_id, self._image_id, multiple)

    def rotary(self, prompts: Prompts, grid: ImageGrid) -> tuple[Tensor, Tensor]:
        model: Any = self.network.language_model["model"]
        like = torch.empty(0, dtype=model.embed_tokens.weight.dtype)
        # Padding has positions too, as in the reference; only distances matter.
        cos, sin = model.rotary_emb(like, torch.arange(prompts.ids.shape[1])[None])
        return cos, sin

    def features(self, images: Tensor, tokens: TokenBatch) -> Tensor:
        model: Any = self.network.language_model["model"]
        tower: Any = self.network.vision_model["vision_model"]
        pixels = self.pixels(images).to(model.embed_tokens.weight.dtype)
        patch_grid = (pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH)
        patches = tower(pixels, tokens.patch_positions.embedding)
        return decode(model, tokens, self.network.mlp1(patches, patch_grid))

    def _encode(self, text: str, grid: ImageGrid) -> tuple[int, ...]:
        """The tokens of an instruction, followed by those of its images."""
        instruction = formalize(text) if self._formalize else text
        content = [{"type": "text", "text": instruction}] + [{"type": "image"}] * grid.count
        chat = self._tokenizer.chat(content)
        image = f"<img>{self._image_token * grid.tokens_per_image}</img>"
        encoded = self._tokenizer.encode(IMAGE_TEXT.sub(rf"<image \1>{image}", chat))
        expected = grid.count * grid.tokens_per_image
        check_image_tokens(encoded, self._image_id, expected, text)
        return tuple(encoded)


def check_backbone(config: Mapping[str, Any]) -> None:
    """Raise `SpecError` for a config.json of Eagle that these modules do not implement."""
    problems = [
        f"{name} must be {wanted!r}, got {config.get(name, wanted)!r}"
        for name, wanted in (
            ("downsample_ratio", 1 / MERGE),
            ("mlp_connector_layers", 2),
            ("select_layer", -1),
            ("use_pixel_shuffle", True),
            ("dynamic_image_size", False),
        )
        if config.get(name, wanted) != wanted
    ]
    if problems:
        raise SpecError("the backbone's config.json has unsupported values", problems)
