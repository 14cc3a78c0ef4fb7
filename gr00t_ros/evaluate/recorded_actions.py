# SPDX-License-Identifier: Apache-2.0
"""The recorded actions at the steps of the chunks, while the recording passes. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from gr00t_ros.contract.contract import Contract
from gr00t_ros.convert.actions import Action, action_source
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.stream_buffers import StreamBuffers

ROUNDING_NS = 1000  # between two times that are the same step, counted from two beginnings


class RecordedActions:
    """An `ActionSource` for the grid of a conversion, and for the times of chunks beside it.

    A chunk belongs to the time of its observation, which may lie between two steps of the grid.
    Its steps are compared with the actions of their own times, which are read as soon as the grid
    has reached them.

    Args:
        lead_steps: Steps by which a measured state is ahead of the step whose action it is; None
            where the action is what was commanded.
        contract: The robot.
        received: Where the messages of the observations are put.

    Attributes:
        topics: The topics that it needs beside those of the observations, with their types.
        known: The actions by wanted time, float32 (D,) by key.

    Raises:
        SpecError: The contract does not allow this source of actions.
    """

    def __init__(self, lead_steps: int | None, contract: Contract, received: StreamBuffers) -> None:
        self._of_grid = action_source(lead_steps, contract, received)
        self._of_chunks = action_source(lead_steps, contract, received)
        self.topics = self._of_grid.topics
        self.known: dict[int, dict[str, Action]] = {}
        self._waiting: list[int] = []
        self._reached_ns = 0

    def receive(self, topic: str, message: Any, now_ns: int) -> None:
        """Take note of a message of one of `topics`."""
        self._of_grid.receive(topic, message, now_ns)
        self._of_chunks.receive(topic, message, now_ns)

    def at(self, time_ns: int) -> dict[str, Action]:
        """The action at a time of the grid, which every stream has reached.

        Raises:
            NotReadyError: An action is not known; the text names it.
        """
        action = self._of_grid.at(time_ns)
        self._reached_ns = time_ns
        self._read_waiting()
        return action

    def clear(self) -> None:
        """Forget everything: the clock was set."""
        self._of_grid.clear()
        self._of_chunks.clear()
        self.forget()

    def want(self, times_ns: Iterable[int]) -> None:
        """Read the actions of some times, none before the grid's present one."""
        for time_ns in times_ns:
            heapq.heappush(self._waiting, time_ns)
        self._read_waiting()

    def forget(self) -> None:
        """Forget the wanted times: their episode has ended."""
        self._waiting.clear()
        self.known.clear()
        self._reached_ns = 0

    def _read_waiting(self) -> None:
        while self._waiting and self._waiting[0] <= self._reached_ns + ROUNDING_NS:
            time_ns = heapq.heappop(self._waiting)
            try:
                self.known[time_ns] = self._of_chunks.at(time_ns)
            except NotReadyError:
                continue  # the step stays unknown, and the comparison ends there
