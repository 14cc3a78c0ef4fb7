# SPDX-License-Identifier: Apache-2.0
"""The modality configs of a replay: its keys, and what the values of its actions are."""

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

# Keys that Isaac-GR00T fills from the episode list and not from modality.json.
LANGUAGE_OF_EPISODE = (TASK, "sub_task")
_DELTA = ActionRepresentation.DELTA


def derived_configs(dataset: LeRobotDataset, action_horizon: int) -> dict[str, ModalityConfig]:
    """The configs that the dataset's keys suggest, all at the present step.

    Args:
        dataset: Of several annotations its first is the prompt, as in Isaac-GR00T at inference.
        action_horizon: Steps of an action chunk.
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
    """The configs, with an action config for each action key.

    Raises:
        SpecError: Naming every key that the dataset does not have, or has otherwise than given.
    """
    _require_keys(dataset, configs)
    return {**configs, "action": _as_recorded(dataset, configs["action"])}


def _require_keys(dataset: LeRobotDataset, configs: Mapping[str, ModalityConfig]) -> None:
    """Raise `SpecError` naming every key that the dataset does not have."""
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
        raise SpecError("modality configs do not fit the dataset", problems)


def _as_recorded(dataset: LeRobotDataset, config: ModalityConfig) -> ModalityConfig:
    """The action config with an entry for each key that tells what its recorded values are.

    Raises:
        SpecError: A given entry says otherwise than the dataset.
    """
    keys = config.modality_keys
    given: Sequence[ActionConfig | None] = config.action_configs or [None] * len(keys)
    slices = [dataset.slices["action"][key] for key in keys]
    contradictions = [
        f"action.{key}: the modality configs say {told.rep.name}, but the dataset's "
        'meta/modality.json says "absolute": false; correct one of them'
        for key, told, entry in zip(keys, given, slices, strict=True)
        if told is not None and not entry.is_absolute and told.rep is not _DELTA
    ]
    if contradictions:
        raise SpecError("modality configs do not fit the dataset", contradictions)
    told = [entry or _config_of(part) for entry, part in zip(given, slices, strict=True)]
    return replace(config, action_configs=told)


def _config_of(entry: ColumnSlice) -> ActionConfig:
    """What the dataset itself tells: whether the values are absolute."""
    rep = ActionRepresentation.ABSOLUTE if entry.is_absolute else _DELTA
    return ActionConfig(rep, ActionType.NON_EEF, ActionFormat.DEFAULT)
