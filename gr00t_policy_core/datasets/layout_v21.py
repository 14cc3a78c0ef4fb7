# SPDX-License-Identifier: Apache-2.0
"""The files of LeRobot v2.1: one parquet file and one video of each camera for every episode."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.json_files import write_json_lines
from gr00t_policy_core.datasets.lerobot import DATA_PATH_V2, EPISODES_PER_CHUNK
from gr00t_policy_core.datasets.numbering import NumberedEpisode
from gr00t_policy_core.datasets.parquet import vector_array, write_table

VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_v21(root: Path, episodes: Sequence[NumberedEpisode], tasks: Sequence[str]) -> Any:
    """Write `data/`, `videos/` and the lists of `meta/`.

    Returns:
        The fields of `meta/info.json` that only this version has.
    """
    cameras = episodes[0].written.schema.videos
    statistics = []
    for episode in episodes:
        fields = {
            "episode_chunk": episode.index // EPISODES_PER_CHUNK,
            "episode_index": episode.index,
        }
        columns = episode.columns()
        table = {name: vector_array(values) for name, values in columns.items()}
        write_table(table, root / DATA_PATH_V2.format(**fields))
        for camera in cameras:
            target = root / VIDEO_PATH.format(video_key=camera.column, **fields)
            link_or_copy(episode.written.folder / f"{camera.key}.mp4", target)
        statistics.append(
            {"episode_index": episode.index, "stats": episode.statistics(columns)},
        )
    meta = root / "meta"
    write_json_lines(
        meta / "tasks.jsonl",
        ({"task_index": index, "task": task} for index, task in enumerate(tasks)),
    )
    write_json_lines(
        meta / "episodes.jsonl",
        (
            {
                "episode_index": episode.index,
                "tasks": [episode.written.task],
                "length": episode.length,
                **episode.written.details,
            }
            for episode in episodes
        ),
    )
    write_json_lines(meta / "episodes_stats.jsonl", statistics)
    return {
        "total_videos": len(cameras) * len(episodes),
        "total_chunks": (len(episodes) - 1) // EPISODES_PER_CHUNK + 1,
        "data_path": DATA_PATH_V2,
        "video_path": VIDEO_PATH if cameras else None,
    }


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system cannot do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
