# SPDX-License-Identifier: Apache-2.0
"""Models with random weights, for benchmarks: how fast one is does not depend on what it learned.

Everything but the weights and the tokenizer is what a checkpoint would have.
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

# What makes a model small enough for a CPU: changes of config.json, and of the text_config of
# the backbone's.
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
PICTURE = "\0"
WORDS = re.compile(rf"{PICTURE}|\w+|[^\w\s]")


class WordTokenizer:
    """A token for each word, about as many as a real tokenizer makes of an instruction.

    Args:
        image_id: The token of pictures.
        picture: What the chat template writes for the n-th picture.
        vocabulary: How many tokens there are.
    """

    pad_id = 0

    def __init__(self, image_id: int, picture: str, vocabulary: int) -> None:
        self._image_id = image_id
        self._picture = picture
        self._vocabulary = vocabulary

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        pictures = 0
        parts = []
        for part in content:
            if part["type"] == "image":
                pictures += 1
                parts.append(self._picture.format(pictures))
            else:
                parts.append(part["text"])
        return f"<|im_start|>user\n{' '.join(parts)}<|im_end|>\n"

    def encode(self, text: str) -> list[int]:
        words = WORDS.findall(text)
        return [self._image_id if word == PICTURE else self._id(word) for word in words]

    def token(self, token_id: int) -> str:
        return PICTURE if token_id == self._image_id else str(token_id)

    def _id(self, word: str) -> int:
        found = 1 + sum(word.encode()) % (self._vocabulary - 1)
        return found if found != self._image_id else found - 1


def arm_with_gripper(cameras: int, head: HeadConfig) -> Embodiment:
    """A robot of 7 joints and a gripper, with absolute actions."""
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
    """Build the action head, and give it and the backbone, built without weights, random ones."""
    with torch.device("meta"):
        head = ActionHead(head_config)
    for module in (backbone, head):
        module.to(dtype).to_empty(device=device)
        module.requires_grad_(False).eval()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=WEIGHT_STD)
    return head
