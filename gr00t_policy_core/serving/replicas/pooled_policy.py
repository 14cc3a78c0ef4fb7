# SPDX-License-Identifier: Apache-2.0
"""A pool of replicas as one policy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np

from gr00t_policy_core import modality
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, BasePolicy, Info, Observation, Options
from gr00t_policy_core.serving.replicas.replica import Facts


class Pool(Protocol):
    """Who passes calls on."""

    def call(self, method: str, *args: Any) -> Any:
        """What the method of one replica's policy returns."""

    def call_all(self, method: str, *args: Any) -> Any:
        """What it returns in one, after it was called in all."""


class PooledPolicy(BasePolicy):
    """Answers by whichever replica is free; may be called from several threads.

    The replicas check what they get and give, if their policy does. Each has a place of its own in
    whatever it plays: only a policy whose answers do not depend on earlier calls answers as one.

    Args:
        pool: Passes the calls on.
        facts: What the replicas are like.
    """

    def __init__(self, pool: Pool, facts: Facts) -> None:
        super().__init__(strict=False)
        self._pool = pool
        self._facts = facts

    @property
    def max_batch_size(self) -> int:
        return self._facts.max_batch_size

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        """As the replicas' policy says. What looks wrong goes alone: it spoils no joint answer."""
        rule = self._facts.rule
        if rule is None or (self._facts.by_modality and not self._is_sound(observation)):
            return None
        return rule(observation, options)

    def check_observation(self, observation: Observation) -> None:
        self._pool.call("check_observation", observation)

    def check_action(self, action: Action) -> None:
        self._pool.call("check_action", action)

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        action, info = self._pool.call("get_action", observation, options)
        return action, info

    def reset(self, options: Options | None = None) -> Info:
        """Reset every replica, while none is answering; returns what one of them said."""
        info: Info = self._pool.call_all("reset", options)
        return info

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return dict(self._facts.configs)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return self._facts.dimensions

    def get_capabilities(self) -> tuple[str, ...]:
        return self._facts.capabilities

    def _is_sound(self, observation: Observation) -> bool:
        try:
            modality.check_observation(observation, self._facts.configs)
        except SpecError:
            return False
        if "state" not in self._facts.configs:
            return True
        keys = self._facts.configs["state"].modality_keys
        return all(np.isfinite(observation["state"][key]).all() for key in keys)
