# SPDX-License-Identifier: Apache-2.0
"""A policy that replays the recorded actions of a dataset, whatever the observation."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import OBSERVATION_MODALITIES, ModalityConfig
from gr00t_policy_core.policies.replay_configs import derived_configs, recorded_configs
from gr00t_policy_core.policy import (
    ABSOLUTE_ACTIONS,
    Action,
    Info,
    ModalityPolicy,
    Observation,
    Options,
    current_client,
)

CACHED_EPISODES = 8  # action columns only, some hundred kilobytes
MAX_CLIENTS = 256  # of more, the client that was idle the longest starts anew
RESET_OPTIONS = ("episode_index", "step_index")


@dataclass(frozen=True, slots=True)
class _Position:
    """The first step of the next action chunk, and the actions of its episode."""

    episode_index: int
    step_index: int
    actions: dict[str, Matrix]  # by key: (episode length, D)

    @property
    def episode_length(self) -> int:
        return len(next(iter(self.actions.values())))

    def as_info(self) -> Info:
        return {
            "episode_index": self.episode_index,
            "step_index": self.step_index,
            "current_step": self.step_index,  # the name in Isaac-GR00T's replay
            "episode_length": self.episode_length,
        }


class ReplayPolicy(ModalityPolicy):
    """Replays the episodes of a LeRobot v2.0, v2.1 or v3.0 dataset as a policy.

    It checks observations like a model, and ignores their values; it does not need the videos of
    the dataset. Each client of a server (`current_client`) has its own episode and step, at first
    step 0 of `episode_index`, and `reset` moves only that client's. It is not thread-safe.

    The action configs describe the recorded values: DELTA for a key with ``"absolute": false`` in
    `meta/modality.json`, because the replay returns recorded steps unchanged.

    Args:
        dataset_path: The directory with `meta/` and `data/`.
        modality_configs: Modality configs by modality; ``"action"`` is required. None takes every
            key of the dataset's `meta/modality.json` (without that file, every feature of its
            `meta/info.json`) at the present step, with `action_horizon` steps of action, and the
            first annotation as the language, as Isaac-GR00T does at inference.
        execution_horizon: Steps that each `get_action` advances, from 1 to the action horizon; None
            means the whole horizon.
        action_horizon: Steps of an action chunk; used if `modality_configs` is None.
        episode_index: The first episode; None means the first in the dataset's list.
        video_backend: Accepted for calls written for Isaac-GR00T; it has no effect, because the
            replay reads no video.
        video_backend_kwargs: Accepted like `video_backend`, without effect.
        strict: Check every observation and every action.

    Raises:
        SpecError: A setting does not match the dataset.
        DatasetError: A file of the dataset is missing or damaged; the message names it.
        ImportError: pyarrow is not installed.
    """

    def __init__(
        self,
        dataset_path: str | Path,
        modality_configs: Mapping[str, ModalityConfig] | None = None,
        execution_horizon: int | None = None,
        *,
        action_horizon: int = 16,
        episode_index: int | None = None,
        video_backend: str | None = None,
        video_backend_kwargs: Mapping[str, Any] | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__(strict)
        self._dataset = LeRobotDataset(dataset_path)
        steps = _integer("action_horizon", action_horizon, 1, None)
        if modality_configs is None:
            modality_configs = derived_configs(self._dataset, steps)
        self._configs = recorded_configs(self._dataset, modality_configs)

        self._deltas = np.array(self._configs["action"].delta_indices)
        horizon = len(self._deltas)
        self.execution_horizon = (
            horizon
            if execution_horizon is None
            else _integer("execution_horizon", execution_horizon, 1, horizon)
        )
        self._read_actions = functools.lru_cache(maxsize=CACHED_EPISODES)(self._read_episode)
        first = next(iter(self._dataset.episodes)) if episode_index is None else episode_index
        self._start = self._position_at(first, 0)
        self._positions: OrderedDict[str, _Position] = OrderedDict()  # by client, latest last

    @property
    def num_episodes(self) -> int:
        """Episodes in the dataset."""
        return len(self._dataset.episodes)

    @property
    def _position(self) -> _Position:
        return self._positions.get(current_client(), self._start)

    @_position.setter
    def _position(self, position: _Position) -> None:
        client = current_client()
        self._positions[client] = position
        self._positions.move_to_end(client)
        if len(self._positions) > MAX_CLIENTS:
            self._positions.popitem(last=False)

    @property
    def episode_length(self) -> int:
        """Steps of the episode that is being played."""
        return self._position.episode_length

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return dict(self._configs)

    def get_capabilities(self) -> tuple[str, ...]:
        return (ABSOLUTE_ACTIONS,)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {
            modality: {
                key: self._dataset.slices[modality][key].dimension
                for key in self._configs[modality].modality_keys
            }
            for modality in ("state", "action")
            if modality in self._configs
        }

    def reset(self, options: Options | None = None) -> Info:
        """Go to a step of an episode. An error leaves the position unchanged.

        Args:
            options: ``"episode_index"`` (default: the current one) and ``"step_index"`` (default:
                0).

        Returns:
            The new ``{"episode_index", "step_index", "episode_length"}``, and ``current_step``,
            which is another name of ``step_index``.

        Raises:
            SpecError: An option is unknown, or a value is outside of the dataset.
            DatasetError: The episode cannot be read.
        """
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise SpecError("bad reset", [f"options must be a dict, got {options!r:.60}"])
        unknown = [option for option in options if option not in RESET_OPTIONS]
        if unknown:
            raise SpecError("bad reset", [f"unknown options {unknown}, known {RESET_OPTIONS}"])
        self._position = self._position_at(
            options.get("episode_index", self._position.episode_index),
            options.get("step_index", 0),
        )
        return self._position.as_info()

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """The next chunk, the same for every row of the batch, and its position.

        Past the end of the episode the last action repeats. In the info, ``step_index`` is the step
        of delta index 0, which also counts past the end.
        """
        position = self._position
        steps = np.clip(position.step_index + self._deltas, 0, position.episode_length - 1)
        rows = self._batch_size(observation, options)
        action = {key: np.stack([values[steps]] * rows) for key, values in position.actions.items()}
        self._position = replace(position, step_index=position.step_index + self.execution_horizon)
        return action, position.as_info()

    def _batch_size(self, observation: Observation | None, options: Options | None) -> int:
        """The batch size of the observation's first key.

        Without keys it is ``options["batch_size"]`` as in Isaac-GR00T, or 1.
        """
        for modality in OBSERVATION_MODALITIES:
            entries = (observation or {}).get(modality, {})
            for key in self._configs[modality].modality_keys if modality in self._configs else ():
                if key in entries:
                    return len(entries[key])
        return _integer("batch_size", (options or {}).get("batch_size", 1), 1, None)

    def _position_at(self, episode_index: Any, step_index: Any) -> _Position:
        indices = self._dataset.episodes
        episode_index = _integer("episode_index", episode_index, min(indices), max(indices))
        if episode_index not in indices:
            near = sorted(indices, key=lambda index: abs(index - episode_index))[:2]
            raise SpecError(
                "bad setting",
                [f"the dataset has no episode {episode_index}, the closest are {sorted(near)}"],
            )
        actions = self._read_actions(episode_index)
        start = _Position(episode_index, 0, actions)
        step_index = _integer("step_index", step_index, 0, start.episode_length - 1)
        return replace(start, step_index=step_index)

    def _read_episode(self, episode_index: int) -> dict[str, Matrix]:
        keys = self._configs["action"].modality_keys
        return self._dataset.read(episode_index, "action", keys)


def _integer(name: str, value: Any, lowest: int, highest: int | None) -> int:
    """`value` as an int from `lowest` to `highest`, or unbounded for None; raises `SpecError`."""
    expected = f"an integer from {lowest}" + (f" to {highest}" if highest is not None else "")
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise SpecError("bad setting", [f"{name} must be {expected}, got {value!r}"])
    if value < lowest or (highest is not None and value > highest):
        raise SpecError("bad setting", [f"{name} must be {expected}, got {value}"])
    return int(value)
