# SPDX-License-Identifier: Apache-2.0
"""The modality configs of a replay: its keys, and the representation of its actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gr00t_policy_core.datasets.keys import TASK, ColumnSlice
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import (
    OBSERVATION_MODALITIES,
    ActionConfig,
    ActionFormat,
    ActionRepresentation,
    ActionType,
    ModalityConfig,
)

# Language keys that Isaac-GR00T takes from the episode list instead of modality.json.
LANGUAGE_OF_EPISODE = (TASK, "sub_task")
_DELTA = ActionRepresentation.DELTA


def derived_configs(dataset: LeRobotDataset, action_horizon: int) -> dict[str, ModalityConfig]:
    """The configs of all keys of a dataset, at the present step.

    Args:
        dataset: The dataset; its first annotation is the language key, as in Isaac-GR00T at
            inference.
        action_horizon: The number of steps of an action chunk.
    """
    keys = dataset.keys
    present = {
        "video": keys["video"],
        "state": keys["state"],
        "language": keys["language"][:1],
    }
    configs = {name: ModalityConfig([0], names) for name, names in present.items() if names}
    if keys["action"]:
        configs["action"] = ModalityConfig(list(range(action_horizon)), keys["action"])
    return configs


def recorded_configs(
    dataset: LeRobotDataset, configs: Mapping[str, ModalityConfig]
) -> dict[str, ModalityConfig]:
    """The configs, completed by an action config for each action key.

    Raises:
        SpecError: The dataset does not have a key, or records it in another representation than
            its action config says; the message names every such key.
    """
    _require_keys(dataset, configs)
    return {**configs, "action": _as_recorded(dataset, configs["action"])}


def _require_keys(dataset: LeRobotDataset, configs: Mapping[str, ModalityConfig]) -> None:
    """Raise `SpecError`, which names every key that the dataset does not have."""
    if "action" not in configs:
        raise SpecError(
            "bad modality configs for replay",
            [f"no 'action' in {sorted(configs)}; the dataset has {dataset.keys['action']}"],
        )
    known = {**dataset.keys, "language": [*dataset.keys["language"], *LANGUAGE_OF_EPISODE]}
    problems = [
        f"{modality}.{key}: not in the dataset's meta/modality.json, which has {known[modality]}"
        for modality in (*OBSERVATION_MODALITIES, "action")
        if modality in configs
        for key in configs[modality].modality_keys
        if key not in known[modality]
    ]
    if problems:
        raise SpecError("modality configs do not match the dataset", problems)


def _as_recorded(dataset: LeRobotDataset, config: ModalityConfig) -> ModalityConfig:
    """The action config, completed by the representation of each key's recorded values.

    Raises:
        SpecError: A given action config contradicts the dataset.
    """
    keys = config.modality_keys
    given: Sequence[ActionConfig | None] = config.action_configs or [None] * len(keys)
    slices = [dataset.slices["action"][key] for key in keys]
    contradictions = [
        f"action.{key}: the modality configs say {config.rep.name}, but the dataset's "
        'meta/modality.json says "absolute": false; correct one of them'
        for key, config, entry in zip(keys, given, slices, strict=True)
        if config is not None and not entry.is_absolute and config.rep is not _DELTA
    ]
    if contradictions:
        raise SpecError("modality configs do not match the dataset", contradictions)
    complete = [entry or _config_of(part) for entry, part in zip(given, slices, strict=True)]
    return replace(config, action_configs=complete)


def _config_of(entry: ColumnSlice) -> ActionConfig:
    """The action config that the dataset itself defines: ABSOLUTE or DELTA."""
    rep = ActionRepresentation.ABSOLUTE if entry.is_absolute else _DELTA
    return ActionConfig(rep, ActionType.NON_EEF, ActionFormat.DEFAULT)
