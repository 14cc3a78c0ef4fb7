# SPDX-License-Identifier: Apache-2.0
"""Observations that no robot made: for warming up and for measuring."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Observation
from gr00t_policy_core.resize import Size

FRAME_SIZE = (480, 640)
INSTRUCTION = "pick up the red cube and put it on the blue plate"


def made_up_observation(
    configs: Mapping[str, ModalityConfig],
    state_sizes: Mapping[str, int],
    batch: int,
    camera_size: Size = FRAME_SIZE,
) -> Observation:
    """Noise for pictures and states, one instruction for all rows; always the same.

    Args:
        configs: Of the policy.
        state_sizes: Values per step of each state key.
        batch: B, the number of rows.
        camera_size: Height and width of every frame, pixels.

    Returns:
        Pictures of uint8 (B, T, *camera_size, 3), states of float32 (B, T, D) within ±0.5.
    """
    rng = np.random.default_rng(0)
    frames = (batch, len(configs["video"].delta_indices), *camera_size, 3)
    steps = (batch, len(configs["state"].delta_indices))
    return {
        "video": {
            key: rng.integers(0, 256, frames, dtype=np.uint8)
            for key in configs["video"].modality_keys
        },
        "state": {
            key: rng.uniform(-0.5, 0.5, (*steps, size)).astype(np.float32)
            for key, size in state_sizes.items()
        },
        "language": {key: [[INSTRUCTION]] * batch for key in configs["language"].modality_keys},
    }
