# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 with random weights, in the published shape or a small one."""

from __future__ import annotations

from typing import Any

import torch

from gr00t_policy_core.models.common.config import read_config, read_head_config
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.random_weights import (
    PIPELINE,
    SMALL_HEAD,
    SMALL_TEXT,
    WordTokenizer,
    arm_with_gripper,
    random_networks,
)
from gr00t_policy_core.models.gr00t_n1d6.backbone import EagleBackbone, EagleNetwork
from gr00t_policy_core.models.gr00t_n1d6.config import PUBLISHED

# From config.json of Eagle-Block2A-2B-v2 in Isaac-GR00T. The head has the shape of its defaults.
BACKBONE: dict[str, Any] = {
    "image_token_index": 151669,
    "text_config": {
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 40960,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "vocab_size": 151680,
    },
    "vision_config": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "layer_norm_eps": 1e-6,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "num_patches": 256,
    },
}

SMALL_BACKBONE: dict[str, Any] = {
    **BACKBONE,
    "text_config": {**BACKBONE["text_config"], **SMALL_TEXT},
    "vision_config": {
        **BACKBONE["vision_config"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
    },
}


def random_model(*, small: bool, cameras: int, device: torch.device, dtype: torch.dtype) -> Model:
    """See `gr00t_policy_core.models.common.model.RandomBuilder`."""
    config = read_config(SMALL_HEAD if small else {}, PUBLISHED)
    head_config = read_head_config(config, state_steps_per_token=1)
    backbone_config = SMALL_BACKBONE if small else BACKBONE
    with torch.device("meta"):
        network = EagleNetwork(backbone_config, config["select_layer"])
    head = random_networks(network, head_config, device, dtype)
    network.restore_buffers()
    vocabulary = BACKBONE["text_config"]["vocab_size"]
    tokenizer = WordTokenizer(BACKBONE["image_token_index"], "<image-{}>", vocabulary)
    backbone = EagleBackbone(network, backbone_config, tokenizer, PIPELINE, True)
    return Model(arm_with_gripper(cameras, head_config), backbone, head)
