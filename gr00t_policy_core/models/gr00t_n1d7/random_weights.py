# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.7 with random weights, in the published shape or a small one."""

from __future__ import annotations

from typing import Any

import torch

from gr00t_policy_core.models.common.config import read_config, read_head_config
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.random_weights import (
    IMAGE,
    PIPELINE,
    SMALL_HEAD,
    SMALL_TEXT,
    WordTokenizer,
    arm_with_gripper,
    random_networks,
)
from gr00t_policy_core.models.gr00t_n1d7.backbone import (
    QwenBackbone,
    build_network,
    restore_buffers,
)
from gr00t_policy_core.models.gr00t_n1d7.config import PUBLISHED
from gr00t_policy_core.models.gr00t_n1d7.vision import PatchConfig

PATCHES = PatchConfig(
    patch=16,
    temporal=2,
    merge=2,
    min_pixels=65536,
    max_pixels=16777216,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    scale=1 / 255,
)

# From config.json of nvidia/Cosmos-Reason2-2B, which has the shape of Qwen3-VL-2B.
BACKBONE: dict[str, Any] = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": True,
    "text_config": {
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 262144,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [24, 20, 20],
            "rope_type": "default",
        },
        "rope_theta": 5000000.0,
        "vocab_size": 151936,
    },
    "vision_config": {
        "deepstack_visual_indexes": [5, 11, 17],
        "depth": 24,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1024,
        "in_channels": 3,
        "intermediate_size": 4096,
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 2048,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}

SMALL_BACKBONE: dict[str, Any] = {
    **BACKBONE,
    "text_config": {
        **BACKBONE["text_config"],
        **SMALL_TEXT,
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [6, 5, 5],
            "rope_type": "default",
        },
    },
    "vision_config": {
        **BACKBONE["vision_config"],
        "deepstack_visual_indexes": [0, 1],
        "depth": 4,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": 128,
    },
}
SMALL_CONFIG: dict[str, Any] = {
    **SMALL_HEAD,
    "vl_self_attention_cfg": {"num_layers": 2, "num_attention_heads": 4, "attention_head_dim": 32},
}


def random_model(*, small: bool, cameras: int, device: torch.device, dtype: torch.dtype) -> Model:
    """See `gr00t_policy_core.models.common.model.RandomBuilder`."""
    config = read_config(SMALL_CONFIG if small else {}, PUBLISHED)
    head_config = read_head_config(config, state_steps_per_token=1)
    backbone_config = SMALL_BACKBONE if small else BACKBONE
    network = build_network(backbone_config, config["select_layer"])
    head = random_networks(network, head_config, device, dtype)
    restore_buffers(network)
    vocabulary = BACKBONE["text_config"]["vocab_size"]
    tokenizer = WordTokenizer(BACKBONE["image_token_id"], IMAGE, vocabulary)
    backbone = QwenBackbone(network, tokenizer, PIPELINE, PATCHES, True)
    return Model(arm_with_gripper(cameras, head_config), backbone, head)
