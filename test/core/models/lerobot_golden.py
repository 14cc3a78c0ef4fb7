# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints as LeRobot saves them, and what lerobot itself answered with them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models.golden import GOLDEN, Golden, Gr00tPolicy

NAMES = ("lerobot_n1d7/a", "lerobot_n1d7/b")


@dataclass
class LeRobotGolden(Golden):
    """One checkpoint and its answers; states and actions are vectors there."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "pretrained_model"

    @property
    def backbone(self) -> Path:
        return self.folder / "nvidia" / "Cosmos-Reason2-tiny"

    @property
    def base(self) -> Path:
        return self.folder / "nvidia" / "GR00T-N1.7-tiny"

    def vector(self, case: str, name: str) -> np.ndarray:
        return self.arrays[f"{case}/{name}"]

    def observation_of(self, policy: Gr00tPolicy, case: str) -> dict[str, Any]:
        states = policy.embodiment.states
        vector = self.vector(case, "state")[:, None]
        groups = np.split(vector, np.cumsum([key.dim for key in states])[:-1], axis=-1)
        language = policy.embodiment.modalities["language"].modality_keys[0]
        prompts = [[prompt] for prompt in self.expected["prompts"][: len(vector)]]
        return {
            "video": {key: frames[:, None] for key, frames in self.group(case, "video").items()},
            "state": {key.name: group for key, group in zip(states, groups, strict=True)},
            "language": {language: prompts},
        }


@lru_cache
def lerobot_golden_of(name: str) -> LeRobotGolden:
    """A checkpoint by name; skips the test where it is not to be had."""
    golden = LeRobotGolden(name)
    if not golden.folder.is_dir():
        pytest.skip(f"no golden data in {GOLDEN}: set GR00T_GOLDEN")
    return golden


def load_lerobot(golden: LeRobotGolden, folder: Path | None = None, **settings: Any) -> Gr00tPolicy:
    settings = {"device": "cpu", "backbone_path": golden.backbone, **settings}
    return Gr00tPolicy(golden.tag, folder or golden.checkpoint, **settings)


@lru_cache
def lerobot_policy_of(name: str) -> Gr00tPolicy:
    """A checkpoint's policy, loaded once for all tests."""
    return load_lerobot(lerobot_golden_of(name))


def as_vector(action: dict[str, np.ndarray]) -> np.ndarray:
    """The groups one after the other, as lerobot has them."""
    return np.concatenate(list(action.values()), axis=-1)
