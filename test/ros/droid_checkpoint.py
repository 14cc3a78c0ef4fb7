# SPDX-License-Identifier: Apache-2.0
"""A tiny GR00T N1.7 of random weights that has the keys of DROID; needs no torch to be made."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from robot_library import DATA, PUBLISHED

TINY = DATA / "models" / "gr00t_n1d7" / "c"
TAG = "oxe_droid_relative_eef_relative_joint"

# Half of the range of the training data. Those of relative actions are what a step does to the
# state: with weights that are random, the arm stays near where it is, and a rotation is one.
STATES = {
    "eef_9d": [0.8, 0.8, 0.8, *[1.0] * 6],
    "gripper_position": [1.0],
    "joint_position": [2.9] * 7,
}
RELATIVE_ACTIONS = {"eef_9d": [0.05] * 3 + [0.1] * 6, "joint_position": [0.15] * 7}
RELATIVE_MIDDLES = {"eef_9d": [0, 0, 0, 1, 0, 0, 0, 1, 0], "joint_position": [0] * 7}


@dataclass(frozen=True, slots=True)
class TinyCheckpoint:
    """What `gr00t-policy serve` is told: the checkpoint, and the backbone's own files."""

    folder: Path
    backbone: Path


def make_droid_checkpoint(folder: Path) -> TinyCheckpoint:
    """Make a checkpoint of the published modality configuration from the tiny one of the tests."""
    shutil.copytree(TINY / "checkpoint", folder)
    modality = json.loads((PUBLISHED / "n1d7_droid.json").read_text(encoding="utf-8"))["configs"]
    horizon = modality["action"]["delta_indices"]["range"]
    modality["action"]["delta_indices"] = list(range(horizon))

    processor = _read(folder / "processor_config.json")
    processor["processor_kwargs"] |= {
        "modality_configs": {TAG: modality},
        "max_action_horizon": horizon,
    }
    _write(folder / "processor_config.json", processor)
    config = _read(folder / "config.json")
    _write(folder / "config.json", config | {"action_horizon": horizon})
    _write(folder / "statistics.json", {TAG: _statistics(horizon)})
    return TinyCheckpoint(folder, next((TINY / "nvidia").iterdir()))


def _statistics(horizon: int) -> dict[str, Any]:
    return {
        "state": {key: _of_range(np.array(half)) for key, half in STATES.items()},
        "action": {key: _of_range(np.array(half)) for key, half in STATES.items()},
        "relative_action": {
            key: _of_range(np.tile(half, (horizon, 1)), np.array(RELATIVE_MIDDLES[key]))
            for key, half in RELATIVE_ACTIONS.items()
        },
    }


def _of_range(half: np.ndarray, middle: np.ndarray | float = 0.0) -> dict[str, Any]:
    """Statistics of values that lie between middle - half and middle + half."""
    low, high = middle - half, middle + half
    values = {"mean": (low + high) / 2, "std": half / 2, "min": low, "max": high}
    values |= {"q01": low, "q99": high}
    return {name: value.tolist() for name, value in values.items()}


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _write(file: Path, content: dict[str, Any]) -> None:
    file.chmod(0o644)
    file.write_text(json.dumps(content), encoding="utf-8")
