# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.7: the values of the published checkpoint, and its numbering of robots."""

from __future__ import annotations

from typing import Any

# config.json of nvidia/GR00T-N1.7-3B, for what a checkpoint's own leaves out. The defaults of
# Isaac-GR00T's code are others (12 layers of the language model, 16 of the DiT, no
# vl_self_attention): those are of no published checkpoint.
PUBLISHED: dict[str, Any] = {
    "model_name": "nvidia/Cosmos-Reason2-2B",
    "select_layer": 16,
    "backbone_embedding_dim": 2048,
    "hidden_size": 1024,
    "input_embedding_dim": 1536,
    "max_state_dim": 132,
    "max_action_dim": 132,
    "action_horizon": 40,
    "state_history_length": 1,
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
    "vl_self_attention_cfg": {
        "num_layers": 4,
        "num_attention_heads": 32,
        "attention_head_dim": 64,
        "positional_embeddings": None,
    },
}

# Isaac-GR00T's EMBODIMENT_TAG_TO_PROJECTOR_INDEX.
EMBODIMENT_IDS = {
    "oxe_droid_relative_eef_relative_joint": 24,
    "xdof_relative_eef_relative_joint": 27,
    "xdof_relative_eef_relative_joint_subtask": 27,
    "real_g1_relative_eef_relative_joints": 25,
    "real_r1_pro_sharpa_relative_eef": 26,
    "real_r1_pro_sharpa_relative_eef_human": 26,
    "real_r1_pro_sharpa_relative_eef_maxinsights": 26,
    "real_r1_pro_sharpa_relative_eef_mecka": 26,
    "unitree_g1_full_body_with_waist_height_nav_cmd": 25,
    "unitree_g1_sonic": 11,
    "simpler_env_google": 0,
    "simpler_env_widowx": 1,
    "libero_sim": 2,
    "new_embodiment": 10,
    "robocasa_panda_omron": 10,
    "robocasa_gr1_tabletop": 10,
}
