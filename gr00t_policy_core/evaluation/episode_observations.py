# SPDX-License-Identifier: Apache-2.0
"""The observations of a recorded episode, in the layout that a policy asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Observation

Image = NDArray[np.uint8]


class EpisodeReader(Protocol):
    """What an evaluation reads of a dataset; `LeRobotDataset` has it."""

    def read(self, episode_index: int, modality: str, keys: Iterable[str]) -> dict[str, Matrix]:
        """Read state or action keys over an episode, float32 (length, D)."""

    def read_video(self, episode_index: int, key: str) -> Iterator[Image]:
        """Decode the frames of a camera over an episode, uint8 (H, W, 3) RGB."""

    def read_instructions(self, episode_index: int, key: str) -> list[str]:
        """Read the instruction of each step of an episode."""


class EpisodeObservations:
    """The observations of one episode at some of its steps, B = 1.

    A step before the episode's first one is the first one, as in the training of Isaac-GR00T.

    Args:
        dataset: Where the episode is recorded.
        episode_index: The episode.
        length: Its steps.
        configs: The policy's modality configs.
        steps: The steps that `at` is asked for; other frames of the videos are not kept.

    Raises:
        DatasetError: A key is missing, or a file is damaged.
    """

    def __init__(
        self,
        dataset: EpisodeReader,
        episode_index: int,
        length: int,
        configs: Mapping[str, ModalityConfig],
        steps: Sequence[int],
    ) -> None:
        self._configs = configs
        self._last = length - 1
        self._states: dict[str, Matrix] = {}
        self._frames: dict[str, dict[int, Image]] = {}
        self._instructions: dict[str, list[str]] = {}
        if "state" in configs:
            keys = configs["state"].modality_keys
            self._states = dataset.read(episode_index, "state", keys)
        if "video" in configs:
            wanted = {at for step in steps for at in self._steps("video", step)}
            for key in configs["video"].modality_keys:
                self._frames[key] = _kept(dataset.read_video(episode_index, key), wanted)
        if "language" in configs:
            for key in configs["language"].modality_keys:
                self._instructions[key] = dataset.read_instructions(episode_index, key)

    def at(self, step: int) -> Observation:
        """The observation at a step."""
        observation: dict[str, Any] = {}
        if self._states:
            steps = self._steps("state", step)
            observation["state"] = {k: v[steps][np.newaxis] for k, v in self._states.items()}
        if self._frames:
            steps = self._steps("video", step)
            observation["video"] = {
                key: np.stack([frames[at] for at in steps])[np.newaxis]
                for key, frames in self._frames.items()
            }
        if self._instructions:
            steps = self._steps("language", step)
            observation["language"] = {
                key: [[texts[at] for at in steps]] for key, texts in self._instructions.items()
            }
        return observation

    def _steps(self, modality: str, step: int) -> list[int]:
        deltas = self._configs[modality].delta_indices
        return [min(max(step + delta, 0), self._last) for delta in deltas]


def _kept(frames: Iterator[Image], wanted: set[int]) -> dict[int, Image]:
    last = max(wanted)
    kept = {}
    for step, frame in enumerate(frames):
        if step in wanted:
            kept[step] = frame
        if step == last:
            break
    return kept
