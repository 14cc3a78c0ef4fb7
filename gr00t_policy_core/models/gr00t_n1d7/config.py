# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.7: defaults of its config.json, and its index of each embodiment tag."""

from __future__ import annotations

from typing import Any

from gr00t_policy_core.models.common.config import PUBLISHED_HEAD

# From config.json of nvidia/GR00T-N1.7-3B. Isaac-GR00T's code has other defaults (12 layers of the
# language model, 16 of the DiT, no vl_self_attention), which no published checkpoint uses.
PUBLISHED: dict[str, Any] = {
    **PUBLISHED_HEAD,
    "model_name": "nvidia/Cosmos-Reason2-2B",
    "select_layer": 16,
    "max_state_dim": 132,
    "max_action_dim": 132,
    "action_horizon": 40,
    "state_history_length": 1,
    "vl_self_attention_cfg": {
        "num_layers": 4,
        "num_attention_heads": 32,
        "attention_head_dim": 64,
        "positional_embeddings": None,
    },
}

IMAGE_EDGE = 256  # pixels; the default of Gr00tN1d7Processor

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
