# SPDX-License-Identifier: Apache-2.0
"""A policy with a known mistake, for `gr00t-policy eval` to find."""

from __future__ import annotations

from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.policy import Action, Info, Observation, Options, PolicyWrapper


class FlippedReplay(PolicyWrapper):
    """A replayed dataset with the sign of one value of the action flipped.

    Args:
        dataset_path: The dataset.
        key: The action key.
        index: Which of its values.
    """

    def __init__(self, dataset_path: str, key: str = "single_arm", index: int = 0) -> None:
        super().__init__(ReplayPolicy(dataset_path))
        self._key = key
        self._index = index

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        action, info = self.policy.get_action(observation, options)
        values = action[self._key].copy()
        values[..., self._index] *= -1.0
        return {**action, self._key: values}, info
