# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6: defaults of its config.json, and its index of each embodiment tag."""

from __future__ import annotations

from typing import Any

from gr00t_policy_core.models.common.config import PUBLISHED_HEAD

# The defaults of Isaac-GR00T's Gr00tN1d6Config: a checkpoint writes only what differs from them.
PUBLISHED: dict[str, Any] = {
    **PUBLISHED_HEAD,
    "model_name": "nvidia/Eagle-Block2A-2B-v2",
    "select_layer": 16,
    "max_state_dim": 29,
    "max_action_dim": 29,
    "action_horizon": 16,
}

IMAGE_EDGE = 512  # pixels; the default of Gr00tN1d6Processor

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
