# SPDX-License-Identifier: Apache-2.0
"""Servers with replicas for the tests, and clients that ask them all at once."""

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.lines import LINES
from peers.stock import StockClient
from replica_policies import LoadToy, noted, observe
from server_rig import wait_until
from toy_policy import expected_action

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.serving.replicas import ReplicaPool
from gr00t_policy_core.serving.replicas.cluster import Cluster

WAIT_S = 240.0  # on a busy machine Ray takes a minute to start processes for those that died
PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), *sys.path])


def needs_ray() -> None:
    """Skip the module that calls this where there is no Ray."""
    if importlib.util.find_spec("ray") is None:  # not imported: it reads its settings then
        pytest.skip("replicas need Ray (the extra 'ray')", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def one_ray_for_all() -> Iterator[None]:
    """Started once: pools that find Ray in their process use it, and leave it alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)
        cluster = Cluster(None)
        cluster.join()
        yield
        cluster.leave()


class Served:
    """A server with replicas, and clients in threads of their own."""

    def __init__(self, server: PolicyServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.results: dict[str, Any] = {}
        self._threads: list[threading.Thread] = []

    def client(self) -> PolicyClient:
        return PolicyClient("127.0.0.1", self.server.port, timeout_ms=int(WAIT_S * 1000))

    def ask(self, name: str, instruction: str, seed: int = 0) -> None:
        """Ask in a thread, and nothing else before; what comes back comes into `results`."""
        self.ask_for(name, observe(instruction, seed))

    def ask_for(self, name: str, observation: dict[str, Any]) -> None:
        def run() -> None:
            with StockClient(LINES["n1d7"](), self.server.port, timeout_s=WAIT_S) as client:
                data = {"observation": observation}
                self.results[name] = client.call("get_action", data=data)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def hold(self, name: str, count: int = 1) -> list[int]:
        """Ask for something that takes until `finish`; the processes that hold by now."""
        self.ask(name, "hold")
        wait_until(lambda: len(noted(self.folder, "held")) == count, WAIT_S)
        return noted(self.folder, "held")

    def finish(self) -> dict[str, Any]:
        (self.folder / "release").touch()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        return self.results

    def replicas(self) -> dict[str, Any]:
        return self.server.metrics()["replicas"]

    def wait_until_all_are_ready(self) -> None:
        wait_until(lambda: self.replicas()["ready"] == self.replicas()["size"], WAIT_S)
        wait_until(lambda: self.server.state == "ready", WAIT_S)  # the policy comes a little later


@contextlib.contextmanager
def served(folder: Path, size: int = 2, *, joins: bool = False) -> Iterator[Served]:
    pool = ReplicaPool(LoadToy(str(folder), joins), size)
    with PolicyServer(pool.start, "127.0.0.1", 0, backend=pool, stop_timeout_s=WAIT_S) as server:
        running = Served(server, folder)
        running.wait_until_all_are_ready()
        try:
            yield running
        finally:
            running.finish()


def assert_answered(result: Any, seed: int = 0) -> dict[str, Any]:
    """An answer to `observe(…, seed)`; its info."""
    assert isinstance(result, (list, tuple)), result
    action, info = result
    for key, values in expected_action(observe(seed=seed)).items():
        np.testing.assert_array_equal(action[key], values)
    return info
