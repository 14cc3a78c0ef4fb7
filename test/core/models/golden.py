# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints in the published layout, and what NVIDIA's own code answered with them.

One of each line is in test/data/models. The others lie outside the repository: in ../shared/golden
beside it, or in $GR00T_GOLDEN.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the models need torch: pip install '.[gr00t]'")
pytest.importorskip("transformers", reason="the models need transformers: pip install '.[gr00t]'")
huggingface_hub = pytest.importorskip("huggingface_hub", reason="comes with transformers")

from gr00t_policy_core.models import Gr00tPolicy  # noqa: E402
from gr00t_policy_core.models.common.runner import images_from_frames  # noqa: E402
from gr00t_policy_core.models.common.transfer import copy_to_device  # noqa: E402
from gr00t_policy_core.models.model_policy import ModelPolicy  # noqa: E402

torch.set_num_threads(1)  # the models are tiny, and tests may run side by side

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "test" / "data" / "models"
GOLDEN = Path(os.environ.get("GR00T_GOLDEN") or ROOT.parent / "shared" / "golden")
CASES = ("one", "batch")


@dataclass
class Golden:
    """One checkpoint and its answers."""

    name: str

    @property
    def folder(self) -> Path:
        return DATA / self.name if (DATA / self.name).is_dir() else GOLDEN / self.name

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def backbone(self) -> Path:
        return next((self.folder / "nvidia").iterdir())

    @cached_property
    def expected(self) -> dict[str, Any]:
        return json.loads((self.folder / "expected.json").read_text(encoding="utf-8"))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "expected.npz") as archive:
            return dict(archive)

    @property
    def tag(self) -> str:
        return self.expected["embodiment_tag"]

    @property
    def seed(self) -> int:
        return self.expected["seed"]

    @cached_property
    def language_key(self) -> str:
        processor = json.loads((self.checkpoint / "processor_config.json").read_text("utf-8"))
        configs = processor["processor_kwargs"]["modality_configs"]
        return configs[self.tag]["language"]["modality_keys"][0]

    @cached_property
    def pad_id(self) -> int:
        """The token that batches are filled up with: the first of the shortest row."""
        return int(self.arrays["batch/input_ids"][0, 0])

    def group(self, case: str, group: str) -> dict[str, np.ndarray]:
        """Arrays of a case by key: its video, state or action."""
        prefix = f"{case}/{group}/"
        found = {k: v for k, v in self.arrays.items() if k.startswith(prefix)}
        return {key[len(prefix) :]: value.copy() for key, value in found.items()}

    def observation(self, case: str) -> dict[str, Any]:
        state = self.group(case, "state")
        rows = len(next(iter(state.values())))
        prompts = [[prompt] for prompt in self.expected["prompts"][:rows]]
        video = self.group(case, "video")
        return {"video": video, "state": state, "language": {self.language_key: prompts}}


@lru_cache
def golden_of(name: str) -> Golden:
    """A checkpoint by name; skips the test where it is not to be had."""
    golden = Golden(name)
    if not golden.folder.is_dir():
        pytest.skip(f"no golden data in {GOLDEN}: set GR00T_GOLDEN")
    return golden


@lru_cache
def policy_of(name: str, device: str = "cpu", **settings: Any) -> Gr00tPolicy:
    """A checkpoint's policy, loaded once for all tests."""
    golden = golden_of(name)
    return Gr00tPolicy(
        golden.tag, golden.checkpoint, device=device, backbone_path=golden.backbone, **settings
    )


def features_of(policy: ModelPolicy, observation: dict[str, Any]) -> tuple[Any, Any]:
    """What the action head attends to, and the tokens that it is of."""
    frames = policy.preprocessor.frames(observation)
    grid = policy.preprocessor.image_grid(observation)
    tokens = policy.runner.token_batch(policy.preprocessor.instructions(observation), grid)
    return policy.runner.features([policy.model.backbone.images(frames)], tokens), tokens


def sent_images(policy: ModelPolicy, observation: dict[str, Any]) -> Any:
    """The images as the backbone reads them, on the policy's device."""
    videos = policy.preprocessor.videos(observation)
    return images_from_frames(policy.model, copy_to_device(videos, policy.device))


def assert_golden(golden: Golden, case: str, policy: ModelPolicy) -> dict[str, Any]:
    """The policy gives the reference's actions; returns its info."""
    action, info = policy.get_action(golden.observation(case), {"seed": golden.seed})
    expected = golden.group(case, "action")
    assert action.keys() == expected.keys()
    for key, values in expected.items():
        assert largest(action[key] - values) <= 1e-4 * largest(values), (case, key)
    return info


def rows_of(observation: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Some rows of an observation."""
    return {
        modality: {key: value[rows] for key, value in entries.items()}
        for modality, entries in observation.items()
    }


def largest(values: np.ndarray) -> float:
    return float(np.abs(np.asarray(values, dtype=np.float64)).max())
