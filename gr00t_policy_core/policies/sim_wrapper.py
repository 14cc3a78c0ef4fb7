# SPDX-License-Identifier: Apache-2.0
"""A wrapper that gives any policy the flat keys of Isaac-GR00T's simulation environments."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from gr00t_policy_core import modality
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import (
    Action,
    BasePolicy,
    Info,
    Observation,
    Options,
    PolicyWrapper,
)

# Some environments use this key for the policy's `task` (Isaac-GR00T, gr00t_policy.py).
TASK_KEY = "task"
TASK_KEY_OF_OLD_ENVIRONMENTS = "annotation.human.coarse_action"


class SimPolicyWrapper(PolicyWrapper):
    """Converts flat observations to nested ones for a policy, and its actions to flat ones.

    A flat observation is ``{"video.<key>": uint8 (B, T, H, W, 3) RGB, "state.<key>": float32
    (B, T, D), "<language key>": tuple, list or array of B strings, or one string for all rows}``. A
    flat action is ``{"action.<key>": float32 (B, horizon, D)}``. Language keys are the policy's own
    (``annotation.human.task_description``); instead of ``task`` an environment may use
    ``annotation.human.coarse_action``.

    Args:
        policy: A policy with modality configs, for example a `PolicyClient`.
        strict: Check flat observations and actions; `SpecError` names the flat key.
    """

    def __init__(self, policy: BasePolicy, strict: bool = True) -> None:
        super().__init__(policy, strict)
        self._configs: dict[str, ModalityConfig] | None = None

    def reset(self, options: Options | None = None) -> Info:
        self._configs = None
        return super().reset(options)

    def check_observation(self, observation: Observation) -> None:
        problems = _problems(observation, self._known_configs())
        if problems:
            raise SpecError("bad observation", problems)

    def check_action(self, action: Action) -> None:
        nested = _without_prefix("action.", action) if isinstance(action, Mapping) else action
        modality.check_action(nested, self._known_configs()["action"])

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        nested = _nested(observation, self._known_configs())
        action, info = self.policy.get_action(nested, options)
        return {f"action.{key}": value for key, value in action.items()}, info

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        return self.policy.batch_key(_nested(observation, self._known_configs()), options)

    def _known_configs(self) -> dict[str, ModalityConfig]:
        """The modality configs, requested once per episode: a server costs a round trip."""
        configs = self._configs
        if configs is None:
            configs = self._configs = self.get_modality_config()
        return configs


Gr00tSimPolicyWrapper = SimPolicyWrapper


def _problems(observation: Any, configs: Mapping[str, ModalityConfig]) -> list[str]:
    if not isinstance(observation, Mapping):
        return [f"expected a dict of flat keys, got {type(observation).__name__}"]
    problems = list(_prompt_problems(observation, configs))
    if problems:
        configs = {name: config for name, config in configs.items() if name != "language"}
    try:
        modality.check_observation(_nested(observation, configs), configs)
    except SpecError as error:
        problems.extend(error.problems)
    if problems and any(isinstance(observation.get(name), Mapping) for name in ("video", "state")):
        problems.append(
            'the observation is nested, {"video": {key: …}}; flat keys are expected, '
            '"video.<key>": a server without --use-sim-policy-wrapper accepts nested ones'
        )
    return problems


def _nested(observation: Mapping[str, Any], configs: Mapping[str, ModalityConfig]) -> Observation:
    """The same values under the keys that `gr00t_policy_core.modality` describes."""
    prompts = {key: observation.get(flat) for key, flat in _prompt_keys(observation, configs)}
    video, state = (_without_prefix(prefix, observation) for prefix in ("video.", "state."))
    rows = next((len(value) for value in (*video.values(), *state.values()) if np.ndim(value)), 1)
    return {
        "video": video,
        "state": state,
        "language": {
            key: [[prompt] for prompt in _prompts(given, rows) or given]
            for key, given in prompts.items()
            if given is not None
        },
    }


def _prompts(given: Any, rows: int) -> list[str] | None:
    """The prompt of each row; None for a value of another type."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, str):
        return [given] * rows
    if isinstance(given, (tuple, list)) and all(isinstance(prompt, str) for prompt in given):
        return list(given)
    return None


def _without_prefix(prefix: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): value for k, value in flat.items() if k.startswith(prefix)}


def _prompt_keys(
    observation: Mapping[str, Any], configs: Mapping[str, ModalityConfig]
) -> Iterator[tuple[str, str]]:
    """Each language key of the policy, and its key in the flat observation."""
    for key in configs["language"].modality_keys if "language" in configs else ():
        is_old = key == TASK_KEY and TASK_KEY_OF_OLD_ENVIRONMENTS in observation
        yield key, TASK_KEY_OF_OLD_ENVIRONMENTS if is_old else key


def _prompt_problems(
    observation: Mapping[str, Any], configs: Mapping[str, ModalityConfig]
) -> Iterator[str]:
    """The problems of the prompts, whose flat form differs from the nested one."""
    for _, flat in _prompt_keys(observation, configs):
        if flat not in observation:
            yield f"{flat}: missing, got only {sorted(map(str, observation))}"
            continue
        if _prompts(observation[flat], 1) is None:
            yield f"{flat}: expected a string, or B strings, got {observation[flat]!r:.60}"
