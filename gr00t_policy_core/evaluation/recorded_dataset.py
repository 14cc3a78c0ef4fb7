# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset as an evaluation reads it: states, actions, frames, instructions and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.instructions import read_instructions
from gr00t_policy_core.datasets.json_files import read_object
from gr00t_policy_core.datasets.keys import value_names
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.evaluation.episode_observations import Image


class RecordedDataset:
    """The episodes of a LeRobot dataset; keys that it lacks are named.

    Args:
        path: The directory with `meta/`, `data/` and `videos/`.

    Attributes:
        path: The directory.
        episodes: The number of steps of each episode, by its index.

    Raises:
        DatasetError: A file of `meta/` is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._dataset = LeRobotDataset(path)
        self.path = self._dataset.path
        self.episodes = {index: e.length for index, e in self._dataset.episodes.items()}
        features = read_object(self.path / "meta/info.json").get("features")
        self._features: Mapping[str, Any] = features if isinstance(features, Mapping) else {}

    def read(self, episode_index: int, modality: str, keys: Iterable[str]) -> dict[str, Matrix]:
        """Read state or action keys over an episode, float32 (length, D) by key."""
        wanted = list(keys)
        self._require(modality, wanted)
        return self._dataset.read(episode_index, modality, wanted)

    def read_video(self, episode_index: int, key: str) -> Iterator[Image]:
        """Decode the frames of a camera over an episode, uint8 (H, W, 3) RGB."""
        self._require("video", [key])
        return self._dataset.read_video(episode_index, key)

    def read_instructions(self, episode_index: int, key: str) -> list[str]:
        """Read the instruction of each step of an episode."""
        return read_instructions(self._dataset, episode_index, key)

    def names_of(self, modality: str, key: str) -> tuple[str, ...]:
        """The names of the values of a state or action key; numbered where the dataset has none."""
        entry = self._dataset.slices[modality][key]
        fields = self._features.get(entry.column)
        names = value_names(fields) if isinstance(fields, Mapping) else []
        of_key = tuple(names[entry.start : entry.end])
        if len(of_key) == entry.dimension and len(set(of_key)) == entry.dimension:
            return of_key
        return tuple(f"{key}[{number}]" for number in range(entry.dimension))

    def chosen(self, wanted: Iterable[int] | None, at_most: int) -> dict[int, int]:
        """The lengths of episodes, by index.

        Args:
            wanted: Their indices; None takes the first ones.
            at_most: How many are taken where none are wanted.

        Raises:
            SpecError: The dataset has no such episode.
        """
        if wanted is None:
            return dict(list(self.episodes.items())[:at_most])
        indices = list(wanted)
        unknown = [index for index in indices if index not in self.episodes]
        if unknown:
            first, last = min(self.episodes), max(self.episodes)
            raise SpecError(
                "bad episodes",
                [f"{self.path} has no episode {unknown}, only {first} to {last}"],
            )
        return {index: self.episodes[index] for index in indices}

    def _require(self, modality: str, keys: Iterable[str]) -> None:
        known = self._dataset.keys[modality]
        missing = [f"{modality}.{key}" for key in keys if key not in known]
        if missing:
            raise SpecError(
                "the policy does not match the dataset",
                [f"{self.path} has no {', '.join(missing)}; its {modality} keys are {known}"],
            )
