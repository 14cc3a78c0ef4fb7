# SPDX-License-Identifier: Apache-2.0
"""Reading the numbers of a recorded LeRobot dataset, one episode at a time.

Two layouts are in use; both hold a `meta/modality.json`, which Isaac-GR00T adds to LeRobot's own
files to say which columns, and which part of each, make up a key:

- v2.0 and v2.1: one parquet file per episode, `meta/episodes.jsonl` lists the episodes.
- v3.0: many episodes in a parquet file, `meta/episodes/chunk-XXX/file-YYY.parquet` says which
  episode is in which file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import DatasetError

# Where a key lives when modality.json does not say (Isaac-GR00T, lerobot_episode_loader.py).
DEFAULT_COLUMNS = {"state": "observation.state", "action": "action"}
VERSIONS = ("v2.0", "v2.1", "v3.0")
MODALITIES = ("video", "state", "action", "annotation")

# LeRobot's own defaults (lerobot/datasets), for an info.json that leaves them out.
EPISODES_PER_CHUNK = 1000
DATA_PATH_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
DATA_PATH_V3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ColumnSlice:
    """Where the values of one key are: ``column[start:end]`` of every row."""

    column: str
    start: int
    end: int

    @property
    def dimension(self) -> int:
        """Values per step."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded episode: its number of steps, and the parquet file that they are in."""

    index: int
    length: int
    file: Path
    shares_file: bool  # other episodes are in the same file


class LeRobotDataset:
    """The episodes of a dataset directory; values are read when they are asked for.

    Args:
        path: The directory that holds `meta/` and `data/`.

    Attributes:
        path: As given.
        episodes: By episode index, in the dataset's order.
        keys: The names in `meta/modality.json`, in file order, by modality: ``video``, ``state``,
            ``action``, ``annotation``.
        slices: Where each ``state`` and ``action`` key is, by modality and key.

    Raises:
        DatasetError: A file of `meta/` is missing, damaged or of an unknown version.
        ImportError: pyarrow is not installed (v3.0 needs it from the start).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DatasetError(self.path, "no such directory")
        info = _read_object(self.path / "meta/info.json")
        self.episodes = {episode.index: episode for episode in _read_episodes(self.path, info)}
        if not self.episodes:
            raise DatasetError(self.path / "meta", "the dataset has no episodes")
        modality_file = self.path / "meta/modality.json"
        modality = _read_object(modality_file)
        self.keys = {name: list(_entries(modality_file, modality, name)) for name in MODALITIES}
        self.slices = {
            name: {
                key: _column_slice(modality_file, name, key, entry)
                for key, entry in _entries(modality_file, modality, name).items()
            }
            for name in DEFAULT_COLUMNS
        }

    def read(self, episode_index: int, modality: str, keys: Iterable[str]) -> dict[str, Matrix]:
        """Read some keys of a modality over a whole episode; other columns are not touched.

        Args:
            episode_index: One of `episodes`.
            modality: ``"state"`` or ``"action"``.
            keys: Names out of `slices`.

        Returns:
            ``{key: float32 (length, D)}`` in the units of the recording.

        Raises:
            DatasetError: The episode's file is missing, damaged, or does not hold what `meta/`
                says that it holds.
            ImportError: pyarrow is not installed.
        """
        episode = self.episodes[episode_index]
        slices = {key: self.slices[modality][key] for key in keys}
        columns = _read_columns(episode, sorted({entry.column for entry in slices.values()}))
        for key, entry in slices.items():
            width = columns[entry.column].shape[1]
            if width < entry.end:
                raise DatasetError(
                    episode.file,
                    f"column {entry.column!r} has {width} values per step, but meta/modality.json "
                    f"takes {modality}.{key} from [{entry.start}:{entry.end}]",
                )
        return {
            key: columns[entry.column][:, entry.start : entry.end] for key, entry in slices.items()
        }


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
        if is_v3:
            chunk = _count(meta_file, row, "data/chunk_index")
            fields = {"chunk_index": chunk, "file_index": _count(meta_file, row, "data/file_index")}
        else:
            fields = {"episode_chunk": index // chunk_size, "episode_index": index}
        yield Episode(index, length, path / _data_path(info_file, pattern, fields), is_v3)


def _data_path(info_file: Path, pattern: Any, fields: Mapping[str, int]) -> str:
    try:
        return str(pattern.format(**fields))
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        raise DatasetError(
            info_file, f"data_path must be a pattern of {list(fields)}, got {pattern!r}: {error}"
        ) from error


def _rows_v2(path: Path) -> Iterator[tuple[Path, Any]]:
    file = path / "meta/episodes.jsonl"
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
        if line.strip():
            yield file, _parse_json(file, line, f"line {number}")


def _rows_v3(path: Path) -> Iterator[tuple[Path, Any]]:
    files = sorted((path / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise DatasetError(path / "meta/episodes", "has no chunk-XXX/file-YYY.parquet")
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for file in files:
        for row in _read_table(file, wanted).to_pylist():
            yield file, row


def _count(file: Path, row: Any, field: str) -> int:
    value = row.get(field) if isinstance(row, Mapping) else None
    if not isinstance(value, int) or value < 0:
        raise DatasetError(file, f"an episode must have an integer {field!r}, got {row!r}")
    return value


def _entries(file: Path, modality: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entries = modality.get(name, {})
    if not isinstance(entries, Mapping):
        raise DatasetError(file, f"{name} must be an object of its keys, got {entries!r}")
    return entries


def _column_slice(file: Path, modality: str, key: str, entry: Any) -> ColumnSlice:
    bounds = (entry.get("start"), entry.get("end")) if isinstance(entry, Mapping) else (None, None)
    start, end = bounds
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise DatasetError(
            file, f"{modality}.{key} must have integers 0 <= start < end, got {entry!r}"
        )
    return ColumnSlice(entry.get("original_key") or DEFAULT_COLUMNS[modality], start, end)


def _read_columns(episode: Episode, columns: list[str]) -> dict[str, Matrix]:
    """The named columns over one episode, as float32 (length, width)."""
    only_ours = [("episode_index", "==", episode.index)] if episode.shares_file else None
    table = _read_table(episode.file, columns, only_ours)
    if table.num_rows != episode.length or not episode.length:
        raise DatasetError(
            episode.file,
            f"has {table.num_rows} steps of episode {episode.index}, "
            f"but the dataset's meta/ says {episode.length}",
        )
    matrices = {}
    for name in columns:
        try:
            matrices[name] = _as_matrix(table.column(name))
        except ValueError as error:
            raise DatasetError(
                episode.file, f"column {name!r}, episode {episode.index}: {error}"
            ) from error
    return matrices


def _as_matrix(column: Any) -> Matrix:
    """A parquet column of lists, fixed-size lists or plain numbers as float32 (rows, width)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, width = len(column), 1
    if column.null_count:
        raise ValueError(f"{column.null_count} rows are missing")
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        widths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(widths) != 1:
            raise ValueError(f"expected lists of one length, got lengths {sorted(widths)}")
        width = widths[0]
        column = pc.list_flatten(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"expected numbers or lists of numbers, got {kind}")
    matrix: Matrix = column.to_numpy().reshape(rows, width).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise ValueError("has values that are not finite, or missing")
    return matrix


def _read_table(file: Path, columns: list[str], filters: Any = None) -> Any:
    """The named columns of a parquet file, as a `pyarrow.Table`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            "replaying a dataset needs pyarrow: pip install '.[replay]' in the folder of gr00t_ros"
        ) from error

    if not file.is_file():
        raise DatasetError(file, "no such file")
    try:
        names = pq.read_schema(file).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise DatasetError(file, f"no column {missing}, only {names}")
        return pq.read_table(file, columns=columns, filters=filters, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(file, _why_unreadable(file, error)) from error


def _why_unreadable(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        if stream.read(24) == b"version https://git-lfs.":
            return "is a Git LFS pointer, not the data: run `git lfs pull` in the dataset"
    return f"cannot be read as parquet: {error}"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(file, f"cannot be read: {error}") from error


def _read_object(file: Path) -> dict[str, Any]:
    content = _parse_json(file, _read_text(file), "it")
    if not isinstance(content, dict):
        raise DatasetError(file, f"must hold an object, got {type(content).__name__}")
    return content


def _parse_json(file: Path, text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DatasetError(file, f"{what} is not JSON: {error}") from error
