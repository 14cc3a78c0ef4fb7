# SPDX-License-Identifier: Apache-2.0
"""The policy keys of a LeRobot dataset, and their columns.

`meta/modality.json`, which Isaac-GR00T adds to LeRobot's own files, defines them. A dataset without
that file has one key for each feature of `meta/info.json`, named after the feature.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.json_files import read_object
from gr00t_policy_core.errors import DatasetError

# The column of a key for which modality.json names none (Isaac-GR00T, lerobot_episode_loader.py).
DEFAULT_COLUMNS = {"state": "observation.state", "action": "action"}
IMAGE_PREFIX = "observation.images."  # of the feature of a video key, like DEFAULT_COLUMNS
LANGUAGE_PREFIX = "annotation."
# The prompt of each episode, which Isaac-GR00T takes from the list of episodes.
TASK = "task"

VIDEO_DTYPES = ("video", "image")  # of LeRobot's features
# LeRobot's teleoperators name the steps of an end effector delta_x, delta_y, …
DELTA_PREFIX = "delta_"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ColumnSlice:
    """The columns of one key: ``column[start:end]`` of every row.

    Args:
        column: The name of a parquet column of lists or numbers.
        start: The first value of the key.
        end: The end of its values, exclusive.
        is_absolute: False for an action that is recorded relative to the previous step.
    """

    column: str
    start: int
    end: int
    is_absolute: bool = True

    @property
    def dimension(self) -> int:
        """Values per step."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class DatasetKeys:
    """The keys of a dataset.

    Args:
        names: The keys in file order, by modality: ``video``, ``state``, ``action``, ``language``.
        slices: The columns of each ``state`` and ``action`` key, by modality and key.
        videos: The feature of each ``video`` key.
    """

    names: dict[str, list[str]]
    slices: dict[str, dict[str, ColumnSlice]]
    videos: dict[str, str]

    @classmethod
    def of(cls, path: Path, info: Mapping[str, Any]) -> DatasetKeys:
        """Read the keys of a dataset.

        Args:
            path: The dataset's directory, which has `meta/`.
            info: The content of `meta/info.json`, whose features are the keys of a dataset
                without `meta/modality.json`.

        Raises:
            DatasetError: `meta/modality.json` is damaged, or is missing and `info` has no action.
        """
        file = path / "meta/modality.json"
        return _from_features(file, info) if not file.exists() else _from_modality(file)


def _from_modality(file: Path) -> DatasetKeys:
    modality = read_object(file)
    names = {name: list(_entries(file, modality, name)) for name in ("video", "state", "action")}
    annotations = _entries(file, modality, "annotation")
    return DatasetKeys(
        names={**names, "language": [LANGUAGE_PREFIX + name for name in annotations]},
        slices={
            name: {
                key: _column_slice(file, name, key, entry)
                for key, entry in _entries(file, modality, name).items()
            }
            for name in DEFAULT_COLUMNS
        },
        videos={
            key: (entry.get("original_key") if isinstance(entry, Mapping) else None)
            or IMAGE_PREFIX + key
            for key, entry in _entries(file, modality, "video").items()
        },
    )


def _entries(file: Path, modality: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entries = modality.get(name, {})
    if not isinstance(entries, Mapping):
        raise DatasetError(file, f"{name} must be an object of its keys, got {entries!r}")
    return entries


def _column_slice(file: Path, modality: str, key: str, entry: Any) -> ColumnSlice:
    fields: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    start, end = fields.get("start"), fields.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise DatasetError(
            file, f"{modality}.{key} must have integers 0 <= start < end, got {entry!r}"
        )
    is_absolute = fields.get("absolute", True)
    if not isinstance(is_absolute, bool):
        raise DatasetError(
            file, f'{modality}.{key}: "absolute" must be true or false, got {is_absolute!r}'
        )
    column = fields.get("original_key") or DEFAULT_COLUMNS[modality]
    return ColumnSlice(column, start, end, is_absolute)


def _from_features(file: Path, info: Mapping[str, Any]) -> DatasetKeys:
    """One key for each feature of a plain LeRobot dataset that a policy can read or write."""
    names: dict[str, list[str]] = {"video": [], "state": [], "action": [], "language": [TASK]}
    slices: dict[str, dict[str, ColumnSlice]] = {name: {} for name in DEFAULT_COLUMNS}
    videos: dict[str, str] = {}
    described = []
    for feature, fields in _features(info):
        modality = _modality_of(feature, fields)
        if modality is None:
            continue
        key = _key_of(feature)
        names[modality].append(key)
        if modality == "video":
            videos[key] = feature
        if modality in slices:
            values = value_names(fields)
            is_absolute = not any(name.startswith(DELTA_PREFIX) for name in values)
            slices[modality][key] = ColumnSlice(feature, 0, fields["shape"][0], is_absolute)
            described.append(f"{modality}.{key} = {feature} {values or fields['shape']}")
    if not slices["action"]:
        raise DatasetError(
            file,
            "no such file, and meta/info.json has no numeric feature 'action' to replace it; "
            'write {"state": {KEY: {"start": 0, "end": D}}, "action": {KEY: …}}, where start and '
            "end are ranges of the columns observation.state and action",
        )
    repeated = [key for keys in names.values() for key in set(keys) if keys.count(key) > 1]
    if repeated:
        raise DatasetError(file, f"no such file, and several features have the key {repeated}")
    logger.info(
        "%s: no such file; using the keys of meta/info.json: %s", file, "; ".join(described)
    )
    return DatasetKeys(names, slices, videos)


def _features(info: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    features = info.get("features")
    for feature, fields in features.items() if isinstance(features, Mapping) else ():
        if isinstance(fields, Mapping):
            yield feature, fields


def _modality_of(feature: str, fields: Mapping[str, Any]) -> str | None:
    dtype, shape = str(fields.get("dtype")), fields.get("shape")
    if dtype in VIDEO_DTYPES:
        return "video"
    if not dtype.startswith(("float", "int", "uint", "bool")) or not isinstance(shape, list):
        return None
    if len(shape) != 1 or type(shape[0]) is not int or shape[0] < 1:
        return None
    if feature == "action" or feature.startswith("action."):
        return "action"
    return "state" if feature.startswith("observation.") else None


def _key_of(feature: str) -> str:
    """The key of a feature: ``front`` for observation.images.front."""
    name = feature.removeprefix("observation.").removeprefix("images.").removeprefix("state.")
    return name.removeprefix("action.").replace(".", "_")


def value_names(fields: Mapping[str, Any]) -> list[str]:
    """The names of a feature's values, from a list, {"motors": list}, or {name: index}.

    Args:
        fields: The feature's entry in `meta/info.json`.
    """
    names = fields.get("names")
    if isinstance(names, Mapping):
        lists = [entry for entry in names.values() if isinstance(entry, list)]
        names = lists[0] if lists else list(names)
    return [str(name) for name in names] if isinstance(names, list) else []
