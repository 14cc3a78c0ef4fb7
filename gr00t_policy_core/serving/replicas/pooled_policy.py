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
from gr00t_policy_core.serving.replicas.replica import PolicyDescription


class Pool(Protocol):
    """Makes calls in replicas of a policy."""

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of one replica's policy; returns its result."""

    def call_all(self, method: str, *args: Any) -> Any:
        """Call a method of every replica's policy; returns the result of one of them."""


class PooledPolicy(BasePolicy):
    """A pool of replicas as one policy: a free replica answers. May be called in several threads.

    The replicas check observations and actions, if their policy does. Each keeps a state of its
    own: replicas answer alike only where the answers of the policy do not depend on earlier calls.

    Args:
        pool: Makes the calls; usually a `ReplicaPool`.
        description: Describes the policy of every replica.
    """

    def __init__(self, pool: Pool, description: PolicyDescription) -> None:
        super().__init__(strict=False)
        self._pool = pool
        self._description = description

    @property
    def max_batch_size(self) -> int:
        return self._description.max_batch_size

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        """The key of the replicas' policy; None for a bad observation, which would fail a batch."""
        rule = self._description.batch_rule
        if rule is None or (
            self._description.is_modality_policy and not self._is_valid(observation)
        ):
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
        """Reset every replica while none of them answers; returns the info of one of them."""
        info: Info = self._pool.call_all("reset", options)
        return info

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return dict(self._description.configs)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return self._description.dimensions

    def get_capabilities(self) -> tuple[str, ...]:
        return self._description.capabilities

    def _is_valid(self, observation: Observation) -> bool:
        try:
            modality.check_observation(observation, self._description.configs)
        except SpecError:
            return False
        if "state" not in self._description.configs:
            return True
        keys = self._description.configs["state"].modality_keys
        return all(np.isfinite(observation["state"][key]).all() for key in keys)
