# SPDX-License-Identifier: Apache-2.0
"""Reads the instruction of each step of an episode, as Isaac-GR00T's loader does.

An annotation is a column of task numbers; `task` is the first task of the episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.json_files import parse_json, read_object, read_text
from gr00t_policy_core.datasets.keys import LANGUAGE_PREFIX, TASK
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_policy_core.datasets.parquet import read_table
from gr00t_policy_core.errors import DatasetError, SpecError

TASK_NUMBERS = "task_index"


def read_instructions(dataset: LeRobotDataset, episode_index: int, key: str) -> list[str]:
    """Read the instruction of each step.

    Args:
        dataset: The dataset.
        episode_index: An episode of it.
        key: A language key: an annotation of `meta/modality.json`, or ``task``.

    Raises:
        SpecError: The dataset has no such language key.
        DatasetError: A file is missing or damaged, or a step has a task that is not listed.
    """
    column = TASK_NUMBERS if key == TASK else _column_of(dataset, key)
    numbers = dataset.read_column(episode_index, column)[:, 0]
    tasks = _read_tasks(dataset.path)
    unknown = sorted({int(number) for number in numbers} - tasks.keys())
    if unknown:
        raise DatasetError(
            dataset.path / "meta",
            f"column {column!r} of episode {episode_index} has the tasks {unknown}, which meta/ "
            "does not list",
        )
    return [tasks[int(number)] for number in numbers]


def _column_of(dataset: LeRobotDataset, key: str) -> str:
    known = dataset.keys["language"]
    if key not in known:
        raise SpecError(
            "the policy does not match the dataset",
            [f"{dataset.path} has no language key {key!r}; its keys are {known}"],
        )
    entries = read_object(dataset.path / "meta/modality.json").get("annotation", {})
    entry = entries.get(key.removeprefix(LANGUAGE_PREFIX))
    column = entry.get("original_key") if isinstance(entry, Mapping) else None
    return column or key


def _read_tasks(path: Path) -> dict[int, str]:
    file = path / "meta/tasks.jsonl"
    if file.exists():
        lines = enumerate(read_text(file).splitlines(), start=1)
        rows = [parse_json(file, line, f"line {n}") for n, line in lines if line.strip()]
        return {_number(file, row): str(row.get("task")) for row in rows}
    file = path / "meta/tasks.parquet"
    try:  # pandas writes the texts as an index, which has no name in older datasets
        rows = read_table(file, [TASK_NUMBERS, "task"]).to_pylist()
    except DatasetError:
        rows = read_table(file, [TASK_NUMBERS, "__index_level_0__"]).to_pylist()
    return {_number(file, row): str(row.get("task", row.get("__index_level_0__"))) for row in rows}


def _number(file: Path, row: Any) -> int:
    number = row.get(TASK_NUMBERS) if isinstance(row, Mapping) else None
    if not isinstance(number, int):
        raise DatasetError(file, f"a task must have an integer {TASK_NUMBERS!r}, got {row!r}")
    return number
