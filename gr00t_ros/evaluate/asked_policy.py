# SPDX-License-Identifier: Apache-2.0
"""The policy as the node gets it: what it is asked is kept. Pure."""

from __future__ import annotations

from gr00t_policy_core.policy import (
    Action,
    BasePolicy,
    Info,
    Observation,
    Options,
    PolicyWrapper,
)


class AskedPolicy(PolicyWrapper):
    """Keeps the newest observation, and resets the policy to where the recording is.

    Args:
        policy: The evaluated policy.

    Attributes:
        place: The options of the next resets, since the node itself resets without any.
        is_replay: Whether the policy plays recordings: it answers a reset with ``step_index``.
        observation: What it was asked last.
    """

    def __init__(self, policy: BasePolicy) -> None:
        super().__init__(policy, strict=False)  # the policy itself checks
        self.place: Options = {}
        self.is_replay = False
        self.observation: Observation = {}

    def reset(self, options: Options | None = None) -> Info:
        info = self.policy.reset({**(options or {}), **self.place})
        self.is_replay = "step_index" in info
        return info

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        self.observation = observation
        return self.policy.get_action(observation, options)


class KeptObservations:
    """Some observations from all parts of a recording whose length is not known. Pure.

    Args:
        at_least: How many are kept, of as many or more; at most twice as many and one.

    Attributes:
        by_number: The kept ones, by their number in the order of `offer`.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._every = 1
        self._offered = 0
        self.by_number: dict[int, Observation] = {}

    def offer(self, observation: Observation) -> int:
        """Keep an observation or not; returns its number."""
        number = self._offered
        self._offered += 1
        if number % self._every == 0:
            self.by_number[number] = observation
        if len(self.by_number) > 2 * self._at_least:
            self._every *= 2
            kept = self.by_number.items()
            self.by_number = {n: seen for n, seen in kept if n % self._every == 0}
        return number
