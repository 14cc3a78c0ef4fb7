# SPDX-License-Identifier: Apache-2.0
"""Models with random weights, for benchmarks: the speed does not depend on the weights' values.

Everything except the weights and the tokenizer is as in a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.embodiment import ActionKey, Embodiment, StateKey
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.image_processing import AreaCrop
from gr00t_policy_core.models.common.normalization import MinMax

PIPELINE = AreaCrop(edge=256, fraction=0.95, letter_box=False)  # of the published checkpoints

# Changes of config.json, and of the backbone's text_config, for a model that is small enough for a
# CPU.
SMALL_HEAD: dict[str, Any] = {
    "select_layer": 4,
    "backbone_embedding_dim": 128,
    "hidden_size": 128,
    "input_embedding_dim": 128,
    "diffusion_model_cfg": {
        "num_layers": 8,
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "output_dim": 128,
    },
}
SMALL_TEXT: dict[str, Any] = {
    "head_dim": 32,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

ARM_DIM = 7
HORIZON = 16
WEIGHT_STD = 0.02
IMAGE = "\0"
WORDS = re.compile(rf"{IMAGE}|\w+|[^\w\s]")


class WordTokenizer:
    """A tokenizer with a token for each word, about as many as a real one gives.

    Args:
        image_id: The id of the image token.
        image_text: The chat template's text for the n-th image, with ``{}`` for n.
        vocabulary: Number of token ids.
    """

    pad_id = 0

    def __init__(self, image_id: int, image_text: str, vocabulary: int) -> None:
        self._image_id = image_id
        self._image_text = image_text
        self._vocabulary = vocabulary

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        images = 0
        parts = []
        for part in content:
            if part["type"] == "image":
                images += 1
                parts.append(self._image_text.format(images))
            else:
                parts.append(part["text"])
        return f"<|im_start|>user\n{' '.join(parts)}<|im_end|>\n"

    def encode(self, text: str) -> list[int]:
        words = WORDS.findall(text)
        return [self._image_id if word == IMAGE else self._id(word) for word in words]

    def token(self, token_id: int) -> str:
        return IMAGE if token_id == self._image_id else str(token_id)

    def _id(self, word: str) -> int:
        token_id = 1 + sum(word.encode()) % (self._vocabulary - 1)
        return token_id if token_id != self._image_id else token_id - 1


def arm_with_gripper(cameras: int, head: HeadConfig) -> Embodiment:
    """An embodiment of 7 joints and a gripper, with absolute actions."""
    dims = {"arm": ARM_DIM, "gripper": 1}
    bounds = {name: MinMax(-np.ones(dim), np.ones(dim), clip=True) for name, dim in dims.items()}
    horizon = list(range(min(HORIZON, head.action_horizon)))
    history = list(range(1 - head.state_steps_per_token, 1))
    return Embodiment(
        tag="benchmark",
        index=0,
        modalities={
            "video": ModalityConfig([0], [f"camera_{number}" for number in range(cameras)]),
            "state": ModalityConfig(history, list(dims)),
            "action": ModalityConfig(horizon, list(dims)),
            "language": ModalityConfig([0], ["annotation.human.task_description"]),
        },
        states=tuple(StateKey(name, dim, dim, bounds[name]) for name, dim in dims.items()),
        actions=tuple(ActionKey(name, dim, bounds[name], None, name) for name, dim in dims.items()),
        exclude_state=False,
    )


def random_networks(
    backbone: nn.Module, head_config: HeadConfig, device: torch.device, dtype: torch.dtype
) -> ActionHead:
    """Build the action head, and fill it and the backbone with random weights.

    Args:
        backbone: The backbone's modules, built without weights (on torch's meta device).
        head_config: The shape of the action head.
        device: The device that receives the weights.
        dtype: The dtype of the weights.
    """
    with torch.device("meta"):
        head = ActionHead(head_config)
    for module in (backbone, head):
        module.to(dtype).to_empty(device=device)
        module.requires_grad_(False).eval()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=WEIGHT_STD)
    return head
