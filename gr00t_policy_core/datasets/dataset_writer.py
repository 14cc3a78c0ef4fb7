# SPDX-License-Identifier: Apache-2.0
"""Puts written episodes together to a LeRobot dataset with Isaac-GR00T's `meta/modality.json`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.datasets.episode_writer import STEPS, WrittenEpisode
from gr00t_policy_core.datasets.json_files import write_json
from gr00t_policy_core.datasets.layout_v21 import write_v21
from gr00t_policy_core.datasets.layout_v30 import write_v30
from gr00t_policy_core.datasets.lerobot import EPISODES_PER_CHUNK
from gr00t_policy_core.datasets.numbering import numbered
from gr00t_policy_core.datasets.parquet import as_matrix, read_table
from gr00t_policy_core.datasets.statistics import column_statistics
from gr00t_policy_core.errors import DatasetError, SpecError

_LAYOUTS = {"v2.1": write_v21, "v3.0": write_v30}
WRITTEN_VERSIONS = tuple(_LAYOUTS)
UNFINISHED_SUFFIX, OLD_SUFFIX = ".unfinished", ".old"
ISAAC_STATISTICS = ("mean", "std", "min", "max", "q01", "q99")


def write_dataset(
    path: Path,
    episodes: Sequence[WrittenEpisode],
    *,
    version: str,
    replace: bool = False,
    extra_files: Mapping[str, Any] | None = None,
) -> None:
    """Write a dataset of these episodes, in their order.

    The dataset is whole or it is not there: it is made beside `path`, and moved there at the end.

    Args:
        path: The directory of the dataset.
        episodes: The episodes, as `EpisodeWriter.keep` made them; their folders are left alone.
        version: One of `WRITTEN_VERSIONS`.
        replace: Replace a dataset that is there, or an empty directory.
        extra_files: Further JSON files of `meta/`, by name.

    Raises:
        SpecError: There is no episode, or episodes have different keys or sizes.
        DatasetError: There is something at `path` that is not to be replaced.
        ImportError: pyarrow or PyAV is not installed.
    """
    _require_one_schema(episodes)
    _require_free(path, replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        (unfinished / "meta").mkdir(parents=True)
        _write_files(unfinished, episodes, version)
        for name, content in (extra_files or {}).items():
            write_json(unfinished / "meta" / name, content)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    old = path.with_name(path.name + OLD_SUFFIX)
    if path.exists():
        path.rename(old)
    unfinished.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _require_free(path: Path, replace: bool) -> None:
    if not path.exists():
        return
    if not replace:
        raise DatasetError(path, "is there already; choose another name, or remove it")
    if not path.is_dir() or (any(path.iterdir()) and not (path / "meta/info.json").is_file()):
        raise DatasetError(path, "is there and is not a dataset, so it is not replaced")


def _write_files(root: Path, episodes: Sequence[WrittenEpisode], version: str) -> None:
    schema, video = episodes[0].schema, episodes[0].video
    in_order, tasks = numbered(episodes)
    of_version = _LAYOUTS[version](root, in_order, tasks)
    info = {
        "codebase_version": version,
        "robot_type": schema.robot_type,
        "total_episodes": len(episodes),
        "total_frames": sum(episode.length for episode in episodes),
        "total_tasks": len(tasks),
        "chunks_size": EPISODES_PER_CHUNK,
        "fps": schema.fps_number,
        "splits": {"train": f"0:{len(episodes)}"},
        **of_version,
        "features": schema.features(video.codec),
    }
    write_json(root / "meta/info.json", info)
    write_json(root / "meta/modality.json", schema.modality())
    statistics = dict(_statistics(episodes))
    if version == "v2.1":  # here the file is Isaac-GR00T's; LeRobot has episodes_stats.jsonl
        statistics = {
            column: {name: statistics[column][name] for name in ISAAC_STATISTICS}
            for column in schema.vectors
        }
    write_json(root / "meta/stats.json", statistics)


def _statistics(episodes: Sequence[WrittenEpisode]) -> Iterator[tuple[str, Any]]:
    """The statistics over all steps: of the vectors, and of the pictures."""
    schema = episodes[0].schema
    for column in schema.vectors:
        tables = (read_table(episode.folder / STEPS, [column]) for episode in episodes)
        yield column, column_statistics(np.concatenate([as_matrix(t.column(0)) for t in tables]))
    for camera in schema.videos:
        yield camera.column, _merged([e.image_statistics[camera.key] for e in episodes])


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The statistics of all pictures, from those of each episode.

    Quantiles are the means of the episodes' quantiles, weighted by pictures, as LeRobot's
    `aggregate_feature_stats` has them.
    """
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weights = counts / counts.sum()
    values = {
        name: np.array([part[name] for part in parts], dtype=np.float64)
        for name in parts[0]
        if name != "count"
    }
    weighted = {name: np.tensordot(weights, each, axes=1) for name, each in values.items()}
    mean = weighted["mean"]
    variance = np.tensordot(weights, values["std"] ** 2 + (values["mean"] - mean) ** 2, axes=1)
    merged = {
        **weighted,
        "min": values["min"].min(axis=0),
        "max": values["max"].max(axis=0),
        "std": np.sqrt(variance),
    }
    return {**{name: each.tolist() for name, each in merged.items()}, "count": [int(counts.sum())]}


def _require_one_schema(episodes: Sequence[WrittenEpisode]) -> None:
    if not episodes:
        raise SpecError("bad dataset", ["a dataset needs at least one episode"])
    first = episodes[0]
    for episode in episodes:
        if (episode.schema, episode.video) != (first.schema, first.video):
            raise SpecError(
                "bad dataset",
                [
                    f"the episodes {first.folder} and {episode.folder} do not fit into "
                    f"one dataset: {_difference(first, episode)}"
                ],
            )


def _difference(one: WrittenEpisode, other: WrittenEpisode) -> str:
    """What two episodes differ in, and both values."""
    a, b = one.schema.as_json(), other.schema.as_json()
    fields = [
        f"{name} is {a[name]} in one and {b[name]} in the other" for name in a if a[name] != b[name]
    ]
    return "; ".join(fields) or f"videos are {one.video} in one and {other.video} in the other"
