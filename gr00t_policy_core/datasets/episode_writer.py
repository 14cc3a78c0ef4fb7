# SPDX-License-Identifier: Apache-2.0
"""Writes the steps of an episode as they come, and keeps it in a folder of its own until
`write_dataset` puts all episodes together.

The folder has ``steps.parquet``, ``<camera>.mp4`` and, written last, ``episode.json``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.datasets.json_files import read_object
from gr00t_policy_core.datasets.parquet import Matrix, vector_array, write_table
from gr00t_policy_core.datasets.schema import INTERVENTION_COLUMN, DatasetSchema
from gr00t_policy_core.datasets.statistics import Histogram, pixel_histogram, pixel_statistics
from gr00t_policy_core.datasets.video import (
    KEY_FRAME_INTERVAL,
    Image,
    VideoSettings,
    VideoWriter,
    copy_frames,
)

HISTOGRAM_INTERVAL = 5  # frames between two that the statistics are taken from
STEPS, DESCRIPTION = "steps.parquet", "episode.json"
Details = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class WrittenEpisode:
    """An episode in its folder.

    Args:
        folder: The path of the folder.
        length: The number of steps.
        task: What was demonstrated.
        details: What else the list of episodes says of it, by name.
        schema: The keys of its values.
        video: How its videos are encoded.
        image_statistics: The statistics of each video, by camera.
    """

    folder: Path
    length: int
    task: str
    details: Details
    schema: DatasetSchema
    video: VideoSettings
    image_statistics: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> WrittenEpisode:
        """Read the description of a folder.

        Raises:
            DatasetError: The folder has no description, or a damaged one.
        """
        raw = read_object(folder / DESCRIPTION)
        return cls(
            folder=folder,
            length=raw["length"],
            task=raw["task"],
            details=raw["details"],
            schema=DatasetSchema.from_json(raw["schema"]),
            video=VideoSettings(**raw["video"]),
            image_statistics=raw["image_statistics"],
        )


class EpisodeWriter:
    """Writes steps that follow each other at the rate of the dataset; any part can be kept.

    Frames go to the encoder at once, so the memory does not grow with them. Use it as a context
    manager; at the end its folder is gone, and the episodes that `keep` made remain.

    Args:
        folder: A folder to work in; it is made.
        schema: The keys of the dataset.
        video: How videos are encoded.

    Raises:
        SpecError: A camera has an odd width or height.
        ImportError: PyAV or pyarrow is not installed.
    """

    def __init__(self, folder: Path, schema: DatasetSchema, video: VideoSettings) -> None:
        self.schema = schema
        self._folder = folder
        self._settings = video
        self._states: list[npt.NDArray[np.float32]] = []
        self._actions: list[npt.NDArray[np.float32]] = []
        self._interventions: list[bool] = []
        self._histograms: dict[str, list[Histogram]] = {c.key: [] for c in schema.videos}
        folder.mkdir(parents=True)
        self._videos: dict[str, VideoWriter] = {}
        with ExitStack() as opened:
            for camera in schema.videos:
                writer = VideoWriter(
                    self._file(camera.key),
                    fps=schema.fps,
                    height=camera.height or 0,
                    width=camera.width or 0,
                    settings=video,
                )
                opened.callback(writer.abandon)
                self._videos[camera.key] = writer
            opened.pop_all()
        self._is_open = True

    def __len__(self) -> int:
        """The number of steps."""
        return len(self._states)

    @property
    def states(self) -> Matrix:
        """The states of all steps, float32 (steps, D)."""
        return np.array(self._states, dtype=np.float32).reshape(len(self), self.schema.widths[0])

    @property
    def actions(self) -> Matrix:
        """The actions of all steps, float32 (steps, D)."""
        return np.array(self._actions, dtype=np.float32).reshape(len(self), self.schema.widths[1])

    @property
    def interventions(self) -> npt.NDArray[np.bool_]:
        """Whether a person drove, of all steps, bool (steps,)."""
        return np.array(self._interventions, dtype=bool)

    def add(
        self,
        state: npt.NDArray[np.float32],
        action: npt.NDArray[np.float32],
        images: Mapping[str, Image],
        *,
        intervention: bool = False,
    ) -> None:
        """Add one step.

        Args:
            state: float32 (D,), the values of all state keys in order.
            action: float32 (D,), the values of all action keys in order.
            images: uint8 (H, W, 3) RGB by camera.
            intervention: Whether a person drove in place of the policy.

        Raises:
            ValueError: A row or a frame has another size than the schema says.
        """
        if (state.shape, action.shape) != tuple((width,) for width in self.schema.widths):
            raise ValueError(
                f"rows of shape {state.shape} and {action.shape} in a dataset of "
                f"{self.schema.widths} values"
            )
        for key, video in self._videos.items():
            video.add(images[key])
            if len(self) % HISTOGRAM_INTERVAL == 0:
                self._histograms[key].append(pixel_histogram(images[key]))
        self._states.append(state)
        self._actions.append(action)
        self._interventions.append(intervention)

    def close(self) -> None:
        """End the videos; `keep` may be called from now on."""
        if self._is_open:
            self._is_open = False
            for video in self._videos.values():
                video.close()

    def keep(
        self,
        folder: Path,
        steps: range,
        *,
        task: str,
        details: Details | None = None,
        actions: Matrix | None = None,
    ) -> WrittenEpisode:
        """Make an episode of some of the steps, after `close`.

        Args:
            folder: The folder of the episode; it is made.
            steps: The steps, one after the other. With videos, the first must be even: only every
                second frame is a key frame.
            task: What was demonstrated.
            details: What else the list of episodes says of it, by name.
            actions: Replaces the actions that were added, float32 (all steps, D).

        Raises:
            ValueError: There is no step, or the first one is odd and there are videos.
        """
        if not steps or (self._videos and steps.start % KEY_FRAME_INTERVAL):
            raise ValueError(f"no episode can be made of the steps {steps}")
        folder.mkdir(parents=True)
        columns: dict[str, npt.NDArray[Any]] = {
            "observation.state": self.states,
            "action": self.actions if actions is None else actions,
            INTERVENTION_COLUMN: self.interventions,
        }
        chosen = {
            name: vector_array(columns[name][steps.start : steps.stop])
            for name in (*self.schema.vectors, INTERVENTION_COLUMN)
        }
        write_table(chosen, folder / STEPS)
        for key in self._videos:
            self._copy_video(key, folder / f"{key}.mp4", steps)
        episode = WrittenEpisode(
            folder=folder,
            length=len(steps),
            task=task,
            details=dict(details or {}),
            schema=self.schema,
            video=self._settings,
            image_statistics=dict(self._image_statistics(steps)),
        )
        _describe(episode)
        return episode

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_open:
            self._is_open = False
            for video in self._videos.values():
                with suppress(OSError):
                    video.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, camera: str) -> Path:
        return self._folder / f"{camera}.mp4"

    def _copy_video(self, camera: str, target: Path, steps: range) -> None:
        if steps == range(len(self)):
            self._file(camera).rename(target)
        else:
            copy_frames(self._file(camera), target, first=steps.start, stop=steps.stop)

    def _image_statistics(self, steps: range) -> Iterator[tuple[str, Any]]:
        first = steps.start // HISTOGRAM_INTERVAL
        stop = -(-steps.stop // HISTOGRAM_INTERVAL)
        for key, histograms in self._histograms.items():
            yield key, pixel_statistics(histograms[first:stop])


def _describe(episode: WrittenEpisode) -> None:
    """Write `episode.json`: the episode is whole from now on."""
    description = {
        "length": episode.length,
        "task": episode.task,
        "details": episode.details,
        "schema": episode.schema.as_json(),
        "video": asdict(episode.video),
        "image_statistics": episode.image_statistics,
    }
    text = json.dumps(description)
    (episode.folder / DESCRIPTION).write_text(text, encoding="utf-8")
