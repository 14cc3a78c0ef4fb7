# SPDX-License-Identifier: Apache-2.0
"""Clients that ask at once, and a policy that holds the first until the others wait."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from peers.lines import LINES
from peers.stock import StockClient
from server_rig import wait_until
from toy_policy import PROMPT_KEY, ToyPolicy, expected_action, toy_observation, untimed

from gr00t_policy_core import PolicyServer


class GatedPolicy(ToyPolicy):
    """Joins requests; its first call waits until it is let go, so that others gather."""

    max_batch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()
        self.calls: list[tuple[int, Any]] = []  # rows and options of each call

    def _get_action(self, observation, options=None):
        rows = len(observation["state"]["gripper"])
        self.calls.append((rows, options))
        self.entered.set()
        assert self.release.wait(20)
        action, _ = super()._get_action(observation, options)
        prompts = [prompt for (prompt,) in observation["language"][PROMPT_KEY]]
        return action, {"prompts": prompts, "seeds": np.arange(rows), "model": "toy"}

    @property
    def later_calls(self) -> list[int]:
        return [rows for rows, _ in self.calls[1:]]


def observe(seed: int, batch: int = 1, **kwargs: int) -> dict[str, Any]:
    observation = toy_observation(batch, **kwargs)
    generator = np.random.default_rng(seed)
    for key, values in observation["state"].items():
        observation["state"][key] = generator.normal(size=values.shape).astype(np.float32)
    observation["language"][PROMPT_KEY] = [[f"task {seed}.{row}"] for row in range(batch)]
    return observation


class Crowd:
    """Clients in threads of their own that ask while the policy is held up by a first request."""

    def __init__(self, policy: GatedPolicy, server: PolicyServer) -> None:
        self.policy, self.server = policy, server
        self.results: dict[Any, Any] = {}
        self._threads: list[threading.Thread] = []

    def hold(self) -> None:
        self.ask("first", observe(0))
        assert self.policy.entered.wait(10)

    def ask(self, name: Any, observation: Any, options: Any = None, line: str = "n1d7") -> None:
        """Ask for an action as a stock client does: without another question before it."""
        self.call(name, "get_action", {"observation": observation, "options": options}, line)

    def call(self, name: Any, endpoint: str, data: Any, line: str = "n1d7") -> None:
        def run() -> None:
            with StockClient(LINES[line](), self.server.port) as client:
                self.results[name] = client.call(endpoint, data=data)

        before = self.waiting
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        if len(self._threads) > 1:
            wait_until(lambda: self.waiting == before + 1)

    @property
    def waiting(self) -> int:
        return self.server.metrics()["waiting"]["requests"]

    def finish(self) -> dict[Any, Any]:
        self.policy.release.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        return self.results


@contextlib.contextmanager
def crowded(
    policy: GatedPolicy | None = None, served: Any = None, **settings: Any
) -> Iterator[Crowd]:
    policy = policy or GatedPolicy()
    settings = {"host": "127.0.0.1", "port": 0, **settings}
    with PolicyServer(served or policy, **settings) as server:
        crowd = Crowd(policy, server)
        crowd.hold()
        try:
            yield crowd
        finally:
            crowd.finish()


def assert_answered(result: Any, observation: dict[str, Any]) -> None:
    assert isinstance(result, (list, tuple)), result
    action, info = result
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)
    rows = len(observation["language"][PROMPT_KEY])
    assert info["prompts"] == [prompt for (prompt,) in observation["language"][PROMPT_KEY]]
    assert len(info["seeds"]) == rows
    assert untimed(info)["model"] == "toy"
