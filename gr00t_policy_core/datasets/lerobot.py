# SPDX-License-Identifier: Apache-2.0
"""Reads the columns and videos of a LeRobot dataset, one episode at a time.

There are two formats:

- v2.0 and v2.1: one parquet file per episode; `meta/episodes.jsonl` lists the episodes.
- v3.0: many episodes per parquet file; `meta/episodes/chunk-XXX/file-YYY.parquet` lists the file of
  each episode, and its rows in the whole dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.datasets.json_files import parse_json, read_object, read_text
from gr00t_policy_core.datasets.keys import DatasetKeys
from gr00t_policy_core.datasets.parquet import Matrix, as_matrix, read_table
from gr00t_policy_core.datasets.video import Image, read_frames
from gr00t_policy_core.datasets.video_files import find_video
from gr00t_policy_core.errors import DatasetError

VERSIONS = ("v2.0", "v2.1", "v3.0")

# LeRobot's defaults (lerobot/datasets) for fields that info.json lacks.
EPISODES_PER_CHUNK = 1000
DATA_PATH_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
DATA_PATH_V3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded episode.

    Args:
        index: The episode index; indices need not be consecutive.
        length: The number of steps.
        file: The parquet file of its steps, according to `meta/`.
        first_row: The row of its first step in the whole dataset, if episodes share files; None if
            it has its own file.
    """

    index: int
    length: int
    file: Path
    first_row: int | None = None


class LeRobotDataset:
    """The episodes of a dataset. It reads `meta/` at construction, and values in `read`.

    Args:
        path: The directory with `meta/` and `data/`.

    Attributes:
        episodes: The episodes by index, in the dataset's order.
        keys: The keys in file order, by modality: ``video``, ``state``, ``action``, ``language``.
        slices: The columns of each ``state`` and ``action`` key, by modality and key.

    Raises:
        DatasetError: A file of `meta/` is missing, damaged or of an unknown version.
        ImportError: pyarrow is not installed, which the `meta/` of v3.0 needs.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DatasetError(self.path, "no such directory")
        info = read_object(self.path / "meta/info.json")
        self.episodes = {episode.index: episode for episode in _read_episodes(self.path, info)}
        if not self.episodes:
            raise DatasetError(self.path / "meta", "the dataset has no episodes")
        keys = DatasetKeys.of(self.path, info)
        self.keys, self.slices = keys.names, keys.slices
        self._videos = keys.videos

    def read(self, episode_index: int, modality: str, keys: Iterable[str]) -> dict[str, Matrix]:
        """Read keys of a modality over a whole episode; it reads no other columns.

        Args:
            episode_index: The index of an episode, a key of `episodes`.
            modality: The modality of the keys, ``"state"`` or ``"action"``.
            keys: Keys of that modality, as in `slices`.

        Returns:
            ``{key: float32 (length, D)}`` in the units of the recording.

        Raises:
            DatasetError: The episode's file is missing, damaged, or contradicts `meta/`; or a value
                of these keys is not finite.
            ImportError: pyarrow is not installed.
        """
        episode = self.episodes[episode_index]
        slices = {key: self.slices[modality][key] for key in keys}
        columns = _read_columns(episode, sorted({entry.column for entry in slices.values()}))
        values = {}
        for key, entry in slices.items():
            column = columns[entry.column]
            if column.shape[1] < entry.end:
                raise DatasetError(
                    episode.file,
                    f"column {entry.column!r} has {column.shape[1]} values per step, but in "
                    f"meta/modality.json {modality}.{key} is [{entry.start}:{entry.end}] of it",
                )
            values[key] = column[:, entry.start : entry.end]
            _require_finite(episode, f"{modality}.{key}", values[key])
        return values

    def read_column(self, episode_index: int, column: str) -> Matrix:
        """Read a numeric column over a whole episode, float32 (length, width).

        Raises:
            DatasetError: The episode's file is missing, damaged, or has no such column.
            ImportError: pyarrow is not installed.
        """
        return _read_columns(self.episodes[episode_index], [column])[column]

    def read_video(self, episode_index: int, key: str) -> Iterator[Image]:
        """Decode the frames of a camera over a whole episode, one at a time.

        Args:
            episode_index: The index of an episode, a key of `episodes`.
            key: A ``video`` key.

        Yields:
            uint8 (H, W, 3) RGB, one for each step.

        Raises:
            DatasetError: The video is missing, damaged, or shorter than the episode.
            ImportError: PyAV is not installed.
        """
        episode = self.episodes[episode_index]
        part = find_video(self.path, episode_index, self._videos[key])
        yield from read_frames(part.file, first=part.first, count=episode.length, fps=part.fps)


def _read_episodes(path: Path, info: Mapping[str, Any]) -> Iterator[Episode]:
    info_file = path / "meta/info.json"
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise DatasetError(
            info_file, f"codebase_version must be one of {list(VERSIONS)}, got {version!r}"
        )
    is_v3 = version == "v3.0"
    pattern = info.get("data_path") or (DATA_PATH_V3 if is_v3 else DATA_PATH_V2)
    chunk_size = info.get("chunks_size") or EPISODES_PER_CHUNK
    if not isinstance(chunk_size, int) or chunk_size < 1:
        raise DatasetError(info_file, f"chunks_size must be a positive integer, got {chunk_size!r}")
    for meta_file, row in _rows_v3(path) if is_v3 else _rows_v2(path):
        index, length = _count(meta_file, row, "episode_index"), _count(meta_file, row, "length")
        first_row = None
        if is_v3:
            chunk = _count(meta_file, row, "data/chunk_index")
            fields = {"chunk_index": chunk, "file_index": _count(meta_file, row, "data/file_index")}
            first_row = _count(meta_file, row, "dataset_from_index")
        else:
            fields = {"episode_chunk": index // chunk_size, "episode_index": index}
        file = path / _data_path(info_file, pattern, fields)
        yield Episode(index, length, file, first_row)


def _data_path(info_file: Path, pattern: Any, fields: Mapping[str, int]) -> str:
    try:
        return str(pattern.format(**fields))
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        raise DatasetError(
            info_file, f"data_path must be a pattern of {list(fields)}, got {pattern!r}: {error}"
        ) from error


def _rows_v2(path: Path) -> Iterator[tuple[Path, Any]]:
    file = path / "meta/episodes.jsonl"
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip():
            yield file, parse_json(file, line, f"line {number}")


def _rows_v3(path: Path) -> Iterator[tuple[Path, Any]]:
    files = sorted((path / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise DatasetError(path / "meta/episodes", "has no chunk-XXX/file-YYY.parquet")
    wanted = [
        *("episode_index", "length", "data/chunk_index", "data/file_index"),
        "dataset_from_index",
    ]
    for file in files:
        for row in read_table(file, wanted).to_pylist():
            yield file, row


def _count(file: Path, row: Any, field: str) -> int:
    value = row.get(field) if isinstance(row, Mapping) else None
    if not isinstance(value, int) or value < 0:
        raise DatasetError(file, f"an episode must have an integer {field!r}, got {row!r}")
    return value


def _read_columns(episode: Episode, columns: list[str]) -> dict[str, Matrix]:
    """The named columns over one episode, as float32 (length, width)."""
    if episode.first_row is None:
        table = read_table(episode.file, columns)
    else:
        table = _read_shared(episode, episode.first_row, columns)
    if table.num_rows != episode.length or not episode.length:
        raise DatasetError(
            episode.file,
            f"has {table.num_rows} steps of episode {episode.index}, "
            f"but the dataset's meta/ says {episode.length}",
        )
    matrices = {}
    for name in columns:
        try:
            matrices[name] = as_matrix(table.column(name))
        except ValueError as error:
            raise DatasetError(
                episode.file, f"column {name!r}, episode {episode.index}: {error}"
            ) from error
    return matrices


def _read_shared(episode: Episode, first_row: int, columns: list[str]) -> Any:
    """The rows of an episode in files that it shares with others.

    It reads the file that `meta/episodes` names. If that file has another number of rows of the
    episode, it reads the rows from ``dataset_from_index`` on in all files, as LeRobot's
    `DatasetReader` always does.
    """
    is_ours = [("episode_index", "==", episode.index)]
    table = read_table(episode.file, columns, is_ours) if episode.file.exists() else None
    if table is not None and table.num_rows == episode.length:
        return table
    rows = [("index", ">=", first_row), ("index", "<", first_row + episode.length)]
    elsewhere = _read_everywhere(episode.file.parents[1], columns, rows)
    if elsewhere is not None and elsewhere.num_rows == episode.length:
        return elsewhere
    return (
        table if table is not None else read_table(episode.file, columns)
    )  # raises an error that names the file


def _read_everywhere(folder: Path, columns: list[str], rows: Any) -> Any:
    """The rows that match the filters `rows` in all files of the dataset; None without any."""
    import pyarrow as pa

    tables = [read_table(file, columns, rows) for file in sorted(folder.glob("*/*.parquet"))]
    found = [table for table in tables if table.num_rows]
    return pa.concat_tables(found) if found else None


def _require_finite(episode: Episode, name: str, values: Matrix) -> None:
    steps = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(steps):
        raise DatasetError(
            episode.file,
            f"{name} of episode {episode.index} has missing or non-finite values in "
            f"{len(steps)} of {episode.length} steps, the first in step {steps[0]}",
        )
