# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 with random weights, in the published shape or in a small one."""

from __future__ import annotations

from typing import Any

import torch

from gr00t_policy_core.models.common.config import read_head_config
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.images import AreaCrop
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.random_weights import (
    WordTokenizer,
    arm_with_gripper,
    fill_with_random_weights,
)
from gr00t_policy_core.models.gr00t_n1d6.backbone import EagleBackbone, EagleNetwork
from gr00t_policy_core.models.gr00t_n1d6.config import PUBLISHED

EDGE = 256

# config.json of Eagle-Block2A-2B-v2, in Isaac-GR00T. The head has the shape of its code's defaults.
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
    "text_config": {
        **BACKBONE["text_config"],
        "head_dim": 32,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "vision_config": {
        **BACKBONE["vision_config"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
    },
}
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


def random_model(*, small: bool, cameras: int, device: torch.device, dtype: torch.dtype) -> Model:
    """See `gr00t_policy_core.models.common.model.RandomBuilder`."""
    changes = SMALL_HEAD if small else {}
    head_config = read_head_config(changes, PUBLISHED, state_steps_per_token=1)
    config = SMALL_BACKBONE if small else BACKBONE
    with torch.device("meta"):
        network = EagleNetwork(config, {**PUBLISHED, **changes}["select_layer"])
        head = ActionHead(head_config)
    fill_with_random_weights((network, head), device, dtype)
    network.restore_buffers()
    vocabulary = BACKBONE["text_config"]["vocab_size"]
    tokenizer = WordTokenizer(BACKBONE["image_token_index"], "<image-{}>", vocabulary)
    backbone = EagleBackbone(network, config, tokenizer, AreaCrop(EDGE, 0.95), True)
    return Model(arm_with_gripper(cameras, head_config), backbone, head)
