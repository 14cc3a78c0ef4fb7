# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6: the values that its checkpoints leave out, and its numbering of robots."""

from __future__ import annotations

from typing import Any

# The defaults of Isaac-GR00T's Gr00tN1d6Config: a checkpoint writes only what differs from them.
PUBLISHED: dict[str, Any] = {
    "model_name": "nvidia/Eagle-Block2A-2B-v2",
    "select_layer": 16,
    "backbone_embedding_dim": 2048,
    "hidden_size": 1024,
    "input_embedding_dim": 1536,
    "max_state_dim": 29,
    "max_action_dim": 29,
    "action_horizon": 16,
    "max_seq_len": 1024,
    "add_pos_embed": True,
    "use_vlln": True,
    "use_alternate_vl_dit": True,
    "attend_text_every_n_blocks": 2,
    "num_inference_timesteps": 4,
    "num_timestep_buckets": 1000,
    "diffusion_model_cfg": {
        "num_layers": 32,
        "num_attention_heads": 32,
        "attention_head_dim": 48,
        "output_dim": 1024,
        "norm_type": "ada_norm",
        "interleave_self_attention": True,
        "positional_embeddings": None,
    },
}

# Isaac-GR00T's EMBODIMENT_TAG_TO_PROJECTOR_INDEX.
EMBODIMENT_IDS = {
    "robocasa_panda_omron": 13,
    "gr1": 20,
    "behavior_r1_pro": 24,
    "unitree_g1": 8,
    "libero_panda": 2,
    "oxe_google": 0,
    "oxe_widowx": 1,
    "oxe_droid": 16,
    "new_embodiment": 10,
}
