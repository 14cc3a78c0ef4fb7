# SPDX-License-Identifier: Apache-2.0
"""Synthetic observations, to warm up and to benchmark a model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Observation
from gr00t_policy_core.resize import Size

DEFAULT_IMAGE_SIZE = (480, 640)  # height and width, pixels
INSTRUCTION = "pick up the red cube and put it on the blue plate"


def synthetic_observation(
    configs: Mapping[str, ModalityConfig],
    state_sizes: Mapping[str, int],
    batch: int,
    camera_sizes: Mapping[str, Size] | Size = DEFAULT_IMAGE_SIZE,
) -> Observation:
    """Frames and states of noise, with one instruction for all rows; always the same.

    Args:
        configs: The modality configs of the policy.
        state_sizes: Values per step of each state key.
        batch: B, the number of rows.
        camera_sizes: Height and width of the frames in pixels, of all cameras or by camera. A
            camera that is left out has the size of the first one given, or 480 x 640.

    Returns:
        An observation: videos uint8 (B, T, H, W, 3), states float32 (B, T, D) within ±0.5.

    Raises:
        SpecError: The policy has no such camera, or a size is below 1 pixel.
    """
    sizes = _by_camera(configs["video"].modality_keys, camera_sizes)
    rng = np.random.default_rng(0)
    frames = (batch, len(configs["video"].delta_indices))
    steps = (batch, len(configs["state"].delta_indices))
    return {
        "video": {
            key: rng.integers(0, 256, (*frames, *size, 3), dtype=np.uint8)
            for key, size in sizes.items()
        },
        "state": {
            key: rng.uniform(-0.5, 0.5, (*steps, size)).astype(np.float32)
            for key, size in state_sizes.items()
        },
        "language": {key: [[INSTRUCTION]] * batch for key in configs["language"].modality_keys},
    }


def _by_camera(cameras: list[str], given: Mapping[str, Size] | Size) -> dict[str, Size]:
    if not isinstance(given, Mapping):
        given = dict.fromkeys(cameras, given)
    unknown = sorted(set(given) - set(cameras))
    if unknown:
        raise SpecError("bad camera sizes", [f"the policy has no camera {unknown}, only {cameras}"])
    problems = [
        f"{key}: height and width must be at least 1 pixel, got {size!r}"
        for key, size in given.items()
        if len(size) != 2 or min(size) < 1
    ]
    if problems:
        raise SpecError("bad camera sizes", problems)
    others = next(iter(given.values()), DEFAULT_IMAGE_SIZE)
    return {key: given.get(key, others) for key in cameras}
