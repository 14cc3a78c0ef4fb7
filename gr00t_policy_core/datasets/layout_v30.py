# SPDX-License-Identifier: Apache-2.0
"""The files of LeRobot v3.0: many episodes share a parquet file and a video.

LeRobot begins a new file when the next episode would make the current one too large
(`convert_dataset_v21_to_v30.py`). The statistics of each episode are columns of the list of
episodes, ``stats/<feature>/<name>``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.layout_v21 import link_or_copy
from gr00t_policy_core.datasets.lerobot import DATA_PATH_V3, EPISODES_PER_CHUNK
from gr00t_policy_core.datasets.numbering import NumberedEpisode
from gr00t_policy_core.datasets.parquet import import_pyarrow, vector_array, write_table
from gr00t_policy_core.datasets.video import concatenate

EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
FILES_PER_CHUNK = EPISODES_PER_CHUNK


def write_v30(root: Path, episodes: Sequence[NumberedEpisode], tasks: Sequence[str]) -> Any:
    """Write `data/`, `videos/` and the lists of `meta/`.

    Returns:
        The fields of `meta/info.json` that only this version has.
    """
    schema = episodes[0].written.schema
    rows = [_row(episode) for episode in episodes]
    _write_data(root, episodes, rows)
    for camera in schema.videos:
        _write_videos(root, camera.key, camera.column, episodes, rows)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    write_table(columns, root / EPISODES_PATH.format(chunk_index=0, file_index=0))
    _write_tasks(root / "meta/tasks.parquet", tasks)
    return {
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "data_path": DATA_PATH_V3,
        "video_path": VIDEO_PATH if schema.videos else None,
    }


def _row(episode: NumberedEpisode) -> dict[str, Any]:
    """The row of an episode in the list, without its files and statistics."""
    return {
        "episode_index": episode.index,
        "tasks": [episode.written.task],
        "length": episode.length,
        "dataset_from_index": episode.first_row,
        "dataset_to_index": episode.first_row + episode.length,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **episode.written.details,
    }


def _write_data(
    root: Path, episodes: Sequence[NumberedEpisode], rows: Sequence[dict[str, Any]]
) -> None:
    """Write the parquet files, a row group for each episode, and add to the rows where it is."""
    pa, pq = import_pyarrow()
    sizes = [(episode.written.folder / "steps.parquet").stat().st_size for episode in episodes]
    for number, group in enumerate(_groups(sizes, DATA_FILE_MB)):
        fields = _file_fields(number)
        file = root / DATA_PATH_V3.format(**fields)
        file.parent.mkdir(parents=True, exist_ok=True)
        writer = None
        for index in group:
            columns = episodes[index].columns()
            table = pa.table({name: vector_array(values) for name, values in columns.items()})
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            rows[index].update({f"data/{name}": value for name, value in fields.items()})
            for feature, statistics in episodes[index].statistics(columns).items():
                rows[index].update({f"stats/{feature}/{n}": v for n, v in statistics.items()})
        if writer is not None:
            writer.close()


def _write_videos(
    root: Path,
    camera: str,
    column: str,
    episodes: Sequence[NumberedEpisode],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Write the videos of a camera, and add to the rows where each episode is."""
    files = [episode.written.folder / f"{camera}.mp4" for episode in episodes]
    fps = episodes[0].written.schema.fps
    for number, group in enumerate(_groups([file.stat().st_size for file in files], VIDEO_FILE_MB)):
        fields = _file_fields(number)
        target = root / VIDEO_PATH.format(video_key=column, **fields)
        target.parent.mkdir(parents=True, exist_ok=True)
        if len(group) == 1:
            link_or_copy(files[group.start], target)
        else:
            concatenate([files[index] for index in group], target, fps=fps)
        frames = 0
        for index in group:
            rows[index].update({f"videos/{column}/{n}": value for n, value in fields.items()})
            rows[index][f"videos/{column}/from_timestamp"] = frames / fps
            frames += episodes[index].length
            rows[index][f"videos/{column}/to_timestamp"] = frames / fps


def _groups(sizes: Sequence[int], limit_mb: int) -> Iterator[range]:
    """The indices of files that are put together, in order, each group below the limit."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and total + size >= limit_mb * 2**20:
            yield range(start, index)
            start, total = index, 0
        total += size
    yield range(start, len(sizes))


def _file_fields(number: int) -> dict[str, int]:
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def _write_tasks(file: Path, tasks: Sequence[str]) -> None:
    """Write the list of tasks: LeRobot reads it with pandas, and expects the task as the index."""
    pa, pq = import_pyarrow()
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": "task",
                "field_name": "task",
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), file)
