# SPDX-License-Identifier: Apache-2.0
"""What the tests of replayed datasets share."""

from pathlib import Path

import numpy as np
import pytest
from lerobot_writer import action_at, write_dataset

LENGTHS = [40, 25, 7]
V2_FILE = "data/chunk-000/episode_000000.parquet"
both_layouts = pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])


def write_episodes(root: Path, version: str) -> Path:
    """A dataset of episodes of `LENGTHS`; returns `root`."""
    return write_dataset(root, LENGTHS, version)


def observation(batch_size=1):
    return {
        "video": {key: np.zeros((batch_size, 1, 4, 6, 3), np.uint8) for key in ("front", "wrist")},
        "state": {
            "single_arm": np.zeros((batch_size, 1, 6), np.float32),
            "gripper": np.zeros((batch_size, 1, 1), np.float32),
        },
        "language": {"annotation.human.task_description": [["pick"]] * batch_size},
    }


def recorded(episode, steps):
    return np.stack([action_at(episode, step) for step in steps])


def both_keys(action):
    return np.concatenate([action["single_arm"], action["gripper"]], axis=-1)
