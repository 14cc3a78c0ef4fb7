# SPDX-License-Identifier: Apache-2.0
"""Finds the frames of an episode: a video of its own (v2.x), or a part of a shared one (v3.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.json_files import read_object
from gr00t_policy_core.datasets.parquet import read_table
from gr00t_policy_core.errors import DatasetError


@dataclass(frozen=True, slots=True)
class VideoPart:
    """Some frames of a video.

    Args:
        file: The path of the video.
        first: The index of the first frame.
        fps: Frames per second.
    """

    file: Path
    first: int
    fps: float


def find_video(path: Path, episode_index: int, column: str) -> VideoPart:
    """Find the video of a camera over an episode.

    Args:
        path: The dataset's directory.
        episode_index: The index of the episode.
        column: The camera's feature, such as ``observation.images.front``.

    Raises:
        DatasetError: The dataset has no videos, or its `meta/` does not say where they are.
    """
    file = path / "meta/info.json"
    info = read_object(file)
    pattern, fps = info.get("video_path"), info.get("fps")
    if not isinstance(pattern, str):
        raise DatasetError(file, "video_path is null: the dataset has no videos")
    if not isinstance(fps, (int, float)) or not fps > 0:
        raise DatasetError(file, f"fps must be a positive number, got {fps!r}")
    if info.get("codebase_version") != "v3.0":
        chunk = episode_index // info.get("chunks_size", 1000)
        fields = {"episode_chunk": chunk, "episode_index": episode_index}
        return VideoPart(_path(path, pattern, column, fields), 0, fps)
    fields, start_s = _shared_video(path, episode_index, column)
    return VideoPart(_path(path, pattern, column, fields), round(start_s * fps), fps)


def _path(path: Path, pattern: str, column: str, fields: Mapping[str, int]) -> Path:
    try:
        return path / pattern.format(video_key=column, **fields)
    except (KeyError, IndexError, ValueError) as error:
        raise DatasetError(
            path / "meta/info.json",
            f"video_path must be a pattern of {['video_key', *fields]}, got {pattern!r}",
        ) from error


def _shared_video(path: Path, episode_index: int, column: str) -> tuple[dict[str, int], float]:
    """The chunk and file of a v3.0 video, and the time in it at which the episode begins, s."""
    names = ("chunk_index", "file_index", "from_timestamp")
    wanted = [f"videos/{column}/{name}" for name in names]
    is_ours = [("episode_index", "==", episode_index)]
    for file in sorted((path / "meta/episodes").glob("*/*.parquet")):
        rows: list[Any] = read_table(file, wanted, is_ours).to_pylist()
        if rows:
            chunk, number, start_s = (rows[0][name] for name in wanted)
            return {"chunk_index": chunk, "file_index": number}, start_s
    raise DatasetError(path / "meta/episodes", f"has no episode {episode_index}")
