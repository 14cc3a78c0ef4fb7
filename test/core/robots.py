# SPDX-License-Identifier: Apache-2.0
"""Clients that ask without end, and know the right answer."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
from toy_policy import expected_action, toy_observation

from gr00t_policy_core import PolicyClient, PolicyError


class Robot(threading.Thread):
    """Asks without end, another question each time, and counts what comes back."""

    def __init__(self, port: int, seed: int, timeout_ms: int) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self.done = threading.Event()
        self._generator = np.random.default_rng(seed)
        self._client = PolicyClient("127.0.0.1", port, timeout_ms=timeout_ms)

    def run(self) -> None:
        with self._client:
            while not self.done.wait(0.002):
                self.outcomes[self._ask()] += 1

    def _ask(self) -> str:
        observation = toy_observation()
        for key, values in observation["state"].items():
            observation["state"][key] = self._generator.normal(size=values.shape).astype(np.float32)
        try:
            action, _ = self._client.get_action(observation)
        except TimeoutError:
            return "timed out"
        except PolicyError:
            return "refused"
        wanted = expected_action(observation)
        right = all(np.array_equal(action[key], wanted[key]) for key in wanted)
        return "answered" if right else "WRONG ANSWER"


@contextlib.contextmanager
def robots(port: int, count: int, timeout_ms: int = 150) -> Iterator[list[Robot]]:
    """Some that ask at once; all are gone afterwards."""
    crew = [Robot(port, seed, timeout_ms) for seed in range(count)]
    for robot in crew:
        robot.start()
    try:
        yield crew
    finally:
        for robot in crew:
            robot.done.set()
        for robot in crew:
            robot.join(60)
            assert not robot.is_alive()
