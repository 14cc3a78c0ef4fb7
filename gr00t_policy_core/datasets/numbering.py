# SPDX-License-Identifier: Apache-2.0
"""Episodes with their numbers in a dataset, and the columns that these numbers make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.datasets.episode_writer import STEPS, WrittenEpisode
from gr00t_policy_core.datasets.parquet import as_matrix, read_table
from gr00t_policy_core.datasets.schema import INTERVENTION_COLUMN
from gr00t_policy_core.datasets.statistics import column_statistics

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class NumberedEpisode:
    """An episode of a dataset.

    Args:
        index: The index of the episode.
        first_row: The row of its first step in the whole dataset.
        task_index: The index of its task in the list of tasks.
        written: Its values and videos.
    """

    index: int
    first_row: int
    task_index: int
    written: WrittenEpisode

    @property
    def length(self) -> int:
        """The number of steps."""
        return self.written.length

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of the dataset over the steps of this episode, (length,) or (length, D)."""
        schema, frames = self.written.schema, np.arange(self.length, dtype=np.int64)
        vectors = list(schema.vectors)
        table = read_table(self.written.folder / STEPS, [*vectors, INTERVENTION_COLUMN])
        return {
            **{name: as_matrix(table.column(name)) for name in vectors},
            INTERVENTION_COLUMN: table.column(INTERVENTION_COLUMN).to_numpy(),
            "timestamp": (frames / schema.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full_like(frames, self.index),
            "index": frames + self.first_row,
            "task_index": np.full_like(frames, self.task_index),
            schema.language_column: np.full_like(frames, self.task_index),
        }

    def statistics(self, columns: Columns) -> dict[str, Any]:
        """The statistics of each column and video, by feature.

        Args:
            columns: As `columns` returns them.
        """
        cameras = self.written.schema.videos
        images = self.written.image_statistics
        return {
            **{name: column_statistics(values) for name, values in columns.items()},
            **{camera.column: images[camera.key] for camera in cameras},
        }


def numbered(episodes: Sequence[WrittenEpisode]) -> tuple[list[NumberedEpisode], list[str]]:
    """Number episodes in their order.

    Returns:
        The episodes, and their tasks in the order of first use.
    """
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    first_row, result = 0, []
    for index, episode in enumerate(episodes):
        result.append(NumberedEpisode(index, first_row, tasks.index(episode.task), episode))
        first_row += episode.length
    return result, tasks
