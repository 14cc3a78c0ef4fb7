# SPDX-License-Identifier: Apache-2.0
"""Writes episodes of the simulated arm as a LeRobot v2.1 dataset with GR00T's ``modality.json``.

The layout is the one that LeRobot calls codebase version v2.1, with the ``modality.json`` of
Isaac-GR00T's data preparation guide. There are no videos, so ``video_path`` is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.sim.world import CAMERA_NAMES

FPS = 30
_CHUNK_SIZE = 1000
_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_INDEX_COLUMNS = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True, slots=True)
class Episode:
    """One recorded episode.

    Attributes:
        states: Measured joints, float32 (frames, 7) in the order of ``JOINT_NAMES``; rad, the
            gripper in m. Frame ``i`` is ``i / FPS`` s after the start.
        actions: Commanded joints at the same times, float32 (frames, 7).
        task: What to do, in words.
        scene_seed: The scene it was recorded in, see ``SimulatedArm.reset``.
    """

    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    task: str
    scene_seed: int


def write_dataset(path: Path, episodes: Sequence[Episode]) -> None:
    """Write the dataset; files that are already there are replaced, others left alone.

    Args:
        path: Folder of the dataset; it is created where it is missing.
        episodes: The recorded episodes, in order; at least one.

    Raises:
        ValueError: If there is no episode.
        OSError: If the folder cannot be written.
    """
    if not episodes:
        raise ValueError("a dataset needs at least one episode")
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    first_frames = np.cumsum([0, *(len(episode.actions) for episode in episodes)])
    columns = [
        _columns(
            episode,
            episode_index=index,
            first_frame=int(first_frames[index]),
            task_index=tasks.index(episode.task),
        )
        for index, episode in enumerate(episodes)
    ]
    for index, episode_columns in enumerate(columns):
        file = path / _DATA_PATH.format(episode_chunk=index // _CHUNK_SIZE, episode_index=index)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({k: _arrow(v) for k, v in episode_columns.items()}), file)

    meta = path / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    _write_json(meta / "info.json", _info(episodes, task_count=len(tasks)))
    _write_json(meta / "modality.json", _modality())
    _write_json_lines(meta / "tasks.jsonl", _task_lines(tasks))
    _write_json_lines(meta / "episodes.jsonl", _episode_lines(episodes))
    _write_json_lines(
        meta / "episodes_stats.jsonl",
        (
            {"episode_index": index, "stats": {k: _stats(v) for k, v in episode_columns.items()}}
            for index, episode_columns in enumerate(columns)
        ),
    )


def _columns(
    episode: Episode, *, episode_index: int, first_frame: int, task_index: int
) -> dict[str, NDArray[Any]]:
    frames = np.arange(len(episode.actions), dtype=np.int64)
    return {
        "observation.state": episode.states,
        "action": episode.actions,
        "timestamp": (frames / FPS).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full_like(frames, episode_index),
        "index": frames + first_frame,
        "task_index": np.full_like(frames, task_index),
    }


def _arrow(column: NDArray[Any]) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])


def _stats(column: NDArray[Any]) -> dict[str, list[float]]:
    rows = column.reshape(len(column), -1).astype(np.float64)
    return {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": rows.mean(axis=0).tolist(),
        "std": rows.std(axis=0).tolist(),
        "count": [len(rows)],
    }


def _info(episodes: Sequence[Episode], *, task_count: int) -> dict[str, Any]:
    joints = {"dtype": "float32", "shape": [len(JOINT_NAMES)], "names": list(JOINT_NAMES)}
    scalar = {"shape": [1], "names": None}
    return {
        "codebase_version": "v2.1",
        "robot_type": "gr00t_ros_sim_arm",
        "total_episodes": len(episodes),
        "total_frames": sum(len(episode.actions) for episode in episodes),
        "total_tasks": task_count,
        "total_videos": 0,
        "total_chunks": (len(episodes) - 1) // _CHUNK_SIZE + 1,
        "chunks_size": _CHUNK_SIZE,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": _DATA_PATH,
        "video_path": None,
        "features": {
            "observation.state": joints,
            "action": joints,
            "timestamp": {"dtype": "float32", **scalar},
            **{name: {"dtype": "int64", **scalar} for name in _INDEX_COLUMNS},
        },
    }


def _modality() -> dict[str, Any]:
    arm_joints = len(JOINT_NAMES) - 1
    groups = {
        "single_arm": {"start": 0, "end": arm_joints},
        "gripper": {"start": arm_joints, "end": arm_joints + 1},
    }
    return {
        "state": groups,
        "action": groups,
        "video": {name: {"original_key": f"observation.images.{name}"} for name in CAMERA_NAMES},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def _task_lines(tasks: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    return ({"task_index": index, "task": task} for index, task in enumerate(tasks))


def _episode_lines(episodes: Sequence[Episode]) -> Iterable[Mapping[str, Any]]:
    for index, episode in enumerate(episodes):
        yield {
            "episode_index": index,
            "tasks": [episode.task],
            "length": len(episode.actions),
            "scene_seed": episode.scene_seed,
        }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _write_json_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
