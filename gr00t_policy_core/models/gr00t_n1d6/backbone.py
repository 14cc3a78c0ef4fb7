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
from gr00t_policy_core.models.common.decoder import decode, with_our_layers
from gr00t_policy_core.models.common.image_processing import ImagePipeline, check_aspect
from gr00t_policy_core.models.common.prompts import (
    Prompts,
    Tokenizer,
    check_image_tokens,
    formalize,
    pad,
)
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, Tokens
from gr00t_policy_core.models.gr00t_n1d6.vision import (
    MERGE,
    PATCH,
    Connector,
    Siglip,
    SiglipConfig,
    fit,
    fit_on_device,
    image_token_grid,
    to_pixels,
)
from gr00t_policy_core.resize import Frame

CACHED_PROMPTS = 64
CACHED_GRIDS = 16  # of 1 MB each, for pictures of 108 tokens and bfloat16

TEMPLATES = ("chat_template.json",)  # the one in tokenizer_config.json is another
NEEDED_FILES = (
    TEMPLATES,
    ("tokenizer_config.json",),
    ("vocab.json", "tokenizer.json"),
    ("merges.txt", "tokenizer.json"),
)
NEEDED_FIELDS = ("image_token_index", "text_config", "vision_config")  # of config.json
PICTURE = re.compile(r"<image-(\d+)>")  # what the template writes for the n-th picture


class EagleNetwork(nn.Module):
    """The modules, under their names in a checkpoint.

    Args:
        config: The backbone's config.json.
        select_layer: How many layers of the language model to keep.
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
        language = with_our_layers(Qwen3Model(settings))
        self.language_model = nn.ModuleDict({"model": language})

    def restore_buffers(self) -> None:
        """Compute the rotary frequencies, which are in no checkpoint, in float32, on the host."""
        model: Any = self.language_model["model"]
        model.rotary_emb = type(model.rotary_emb)(config=model.config)


# Of the file's own making, or about dtypes and attention, which are chosen here.
NOT_OURS = ("_attn_implementation_autoset", "_name_or_path", "architectures", "torch_dtype")


# What may be float8 (see `common.float8`); the language model, the connector and the action head
# lose more than twice what bfloat16 does.
FLOAT8_LAYERS = (
    r"vision_model\.vision_model\.encoder\.layers\.\d+"
    r"\.(self_attn\.(qkv|out)_proj|mlp\.fc[12])"
)


class EagleBackbone:
    """Eagle up to a layer of its language model, and that one's last norm.

    Args:
        network: With its weights.
        config: The backbone's config.json.
        tokenizer: Of the backbone.
        pipeline: What the checkpoint does to frames first.
        formalize_language: Clean the instructions, as in training.

    Raises:
        SpecError: The backbone's config.json asks for another way to make tokens of patches.
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
        self._kept_places = lru_cache(CACHED_GRIDS)(self._find_places)

    def pictures(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        return fit([self.pipeline(frame) for row in rows for frame in row])

    def images_on_device(self, frames: Tensor) -> Tensor:
        return fit_on_device(self.pipeline.on_device(frames))

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        check_aspect(height, width)
        return ImageGrid(count, *image_token_grid(height, width))

    def places(self, pictures: ImageGrid) -> PatchPositions:
        return self._kept_places(pictures.rows, pictures.columns)

    def _find_places(self, rows: int, columns: int) -> PatchPositions:
        tower: Any = self.network.vision_model["vision_model"]
        with torch.inference_mode():
            positions = tower.embeddings.positions((rows * MERGE, columns * MERGE))
        return PatchPositions(positions, None, None)

    def pixels(self, pictures: Tensor) -> Tensor:
        """What the vision tower reads, float32 (pictures, 3, H, W)."""
        return to_pixels(pictures)

    def prompts(self, texts: Sequence[str], pictures: ImageGrid, multiple: int = 1) -> Prompts:
        rows = [self._encoded(text, pictures) for text in texts]
        return pad(rows, self._tokenizer.pad_id, self._image_id, multiple)

    def rotary(self, prompts: Prompts, pictures: ImageGrid) -> tuple[Tensor, Tensor]:
        model: Any = self.network.language_model["model"]
        like = torch.empty(0, dtype=model.embed_tokens.weight.dtype)
        # Padding is counted, as in the reference; only distances matter.
        cos, sin = model.rotary_emb(like, torch.arange(prompts.ids.shape[1])[None])
        return cos, sin

    def features(self, pictures: Tensor, tokens: Tokens) -> Tensor:
        model: Any = self.network.language_model["model"]
        tower: Any = self.network.vision_model["vision_model"]
        pixels = self.pixels(pictures).to(model.embed_tokens.weight.dtype)
        grid = (pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH)
        seen = self.network.mlp1(tower(pixels, tokens.places.embedding), grid)
        return decode(model, tokens, seen)

    def _encode(self, text: str, pictures: ImageGrid) -> tuple[int, ...]:
        """The tokens of an instruction and, after it, of its pictures."""
        instruction = formalize(text) if self._formalize else text
        content = [{"type": "text", "text": instruction}] + [{"type": "image"}] * pictures.count
        chat = self._tokenizer.chat(content)
        picture = f"<img>{self._image_token * pictures.tokens_each}</img>"
        encoded = self._tokenizer.encode(PICTURE.sub(rf"<image \1>{picture}", chat))
        expected = pictures.count * pictures.tokens_each
        check_image_tokens(encoded, self._image_id, expected, text)
        return tuple(encoded)


def check_backbone(config: Mapping[str, Any]) -> None:
    """Raise `SpecError` where Eagle is put together in another way than here."""
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
        raise SpecError("the backbone's config.json asks for what is not supported", problems)
