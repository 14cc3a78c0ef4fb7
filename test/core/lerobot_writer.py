# SPDX-License-Identifier: Apache-2.0
"""Writes small LeRobot datasets of both layouts, for the tests that read them."""

import json
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="datasets need pyarrow (the extra 'replay')")
pq = pytest.importorskip("pyarrow.parquet")

ARM, GRIPPER = 6, 1
MODALITY = {
    "state": {"single_arm": {"start": 0, "end": 6}, "gripper": {"start": 6, "end": 7}},
    "action": {"single_arm": {"start": 0, "end": 6}, "gripper": {"start": 6, "end": 7}},
    "video": {
        "front": {"original_key": "observation.images.front"},
        "wrist": {"original_key": "observation.images.wrist"},
    },
    "annotation": {"human.task_description": {"original_key": "task_index"}},
}


def action_at(episode: int, step: int) -> np.ndarray:
    """The recorded action: tells the episode and the step that it is from."""
    return np.array([1000 * episode + step + 0.125 * i for i in range(ARM + GRIPPER)], np.float32)


def write_dataset(
    root: Path,
    lengths: list[int],
    version: str = "v2.1",
    modality: dict | None = None,
    to_column=None,
    indices: list[int] | None = None,
    features: dict | None = None,
) -> Path:
    """Write a dataset; returns `root`.

    Args:
        root: Where to; created.
        lengths: Steps of each episode.
        version: ``"v2.1"`` or ``"v3.0"``, which puts two episodes into a file.
        modality: Content of meta/modality.json; {} writes none.
        to_column: Makes a pyarrow array of an episode's (steps, 7) actions.
        indices: Of the episodes; 0, 1, … by default.
        features: Of meta/info.json.
    """
    indices = indices or list(range(len(lengths)))
    meta = root / "meta"
    meta.mkdir(parents=True)
    tables = [
        _episode_table(index, length, sum(lengths[:place]), to_column or lists)
        for place, (index, length) in enumerate(zip(indices, lengths, strict=True))
    ]
    is_v3 = version == "v3.0"
    info = {
        "codebase_version": version,
        "fps": 30,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if is_v3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "features": features or {},
    }
    (meta / "info.json").write_text(json.dumps(info))
    if modality != {}:
        (meta / "modality.json").write_text(json.dumps(modality or MODALITY))
    (_write_v3 if is_v3 else _write_v2)(root, tables, indices, lengths)
    return root


def lists(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.list_(pa.float32()))


def fixed_size_lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def doubles(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.large_list(pa.float64()))


def _episode_table(index: int, length: int, first_frame: int, to_column) -> pa.Table:
    actions = np.array([action_at(index, step) for step in range(length)])
    return pa.table(
        {
            "observation.state": lists(actions - 1),
            "action": to_column(actions),
            "timestamp": pa.array(np.arange(length, dtype=np.float32) / 30),
            "frame_index": pa.array(range(length)),
            "episode_index": pa.array([index] * length),
            "index": pa.array(range(first_frame, first_frame + length)),
            "task_index": pa.array([0] * length),
        }
    )


def _write_v2(root: Path, tables: list[pa.Table], indices: list[int], lengths: list[int]) -> None:
    for index, table in zip(indices, tables, strict=True):
        data = root / f"data/chunk-{index // 1000:03d}"
        data.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, data / f"episode_{index:06d}.parquet")
    episodes = [
        json.dumps({"episode_index": index, "tasks": ["pick"], "length": length})
        for index, length in zip(indices, lengths, strict=True)
    ]
    (root / "meta/episodes.jsonl").write_text("\n".join(episodes) + "\n")
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "pick"}) + "\n")


def _write_v3(root: Path, tables: list[pa.Table], indices: list[int], lengths: list[int]) -> None:
    data, episodes = root / "data/chunk-000", root / "meta/episodes/chunk-000"
    data.mkdir(parents=True)
    episodes.mkdir(parents=True)
    for file_index in range((len(tables) + 1) // 2):
        both = tables[2 * file_index : 2 * file_index + 2]
        pq.write_table(pa.concat_tables(both), data / f"file-{file_index:03d}.parquet")
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    rows = {
        "episode_index": indices,
        "tasks": [["pick"]] * len(lengths),
        "length": lengths,
        "data/chunk_index": [0] * len(lengths),
        "data/file_index": [index // 2 for index in range(len(lengths))],
        "dataset_from_index": starts,
        "dataset_to_index": [start + length for start, length in zip(starts, lengths, strict=True)],
        "meta/episodes/chunk_index": [0] * len(lengths),
        "meta/episodes/file_index": [0] * len(lengths),
    }
    pq.write_table(pa.table(rows), episodes / "file-000.parquet")
    tasks = pa.table({"task_index": [0], "task": ["pick"]})
    pq.write_table(tasks, root / "meta/tasks.parquet")
