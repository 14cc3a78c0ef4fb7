# SPDX-License-Identifier: Apache-2.0
"""Hundreds of clients that die, stay silent or send garbage, with every outcome counted."""

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robots import robots
from server_rig import free_port, wait_until
from toy_policy import ToyPolicy, toy_observation

from bench.fuzz import fuzz  # the repository's root is on the path only now
from gr00t_policy_core import PolicyClient, PolicyServer, PolicyTimeoutError, RemoteError

CYCLES = 100  # of each kind of violence
PATIENT_MS = 20_000  # for those that nothing shall happen to, on a busy machine
HERE = Path(__file__).resolve().parents[2]


class Phoenix:
    """A process that is made again as soon as it dies."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self._popen = popen
        self.pid = self.next()

    def next(self) -> int:
        """Wait for the one that takes the place of the dead."""
        self.pid = int(self._popen.stdout.readline())
        return self.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.next()

    def freeze(self, seconds: float) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        threading.Event().wait(seconds)
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def phoenix(role: str, port: int) -> Iterator[Phoenix]:
    popen = subprocess.Popen(
        [sys.executable, "-m", "peers.phoenix", role, str(port)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Phoenix(popen)
    finally:
        popen.stdin.close()
        popen.wait(10)
        popen.stdout.close()


def test_robots_outlive_a_server_that_is_killed_and_frozen_again_and_again():
    generator = random.Random(0)
    port = free_port()
    with phoenix("server", port) as server, robots(port, 2) as crew:
        for cycle in range(2 * CYCLES):
            before = [robot.outcomes["answered"] for robot in crew]
            wait_until(
                lambda before=before: all(
                    robot.outcomes["answered"] > b for robot, b in zip(crew, before, strict=True)
                )
            )
            threading.Event().wait(generator.uniform(0, 0.01))
            if cycle % 2:
                server.freeze(generator.uniform(0, 0.05))
            else:
                server.kill()
    outcomes = sum((robot.outcomes for robot in crew), Counter())
    assert outcomes["WRONG ANSWER"] == 0, outcomes
    assert outcomes["answered"] >= 2 * CYCLES


def test_a_server_outlives_clients_that_are_killed_and_frozen_again_and_again(server, client):
    generator = random.Random(1)

    def strangers_requests() -> int:
        return server.metrics()["requests"].get("reset", 0)

    with phoenix("client", server.port) as stranger, robots(server.port, 1, PATIENT_MS) as crew:
        for cycle in range(2 * CYCLES):
            before = strangers_requests()
            wait_until(lambda before=before: strangers_requests() > before)
            threading.Event().wait(generator.uniform(0, 0.02))
            if cycle % 2:
                stranger.freeze(generator.uniform(0, 0.01))
            else:
                stranger.kill()
    assert crew[0].outcomes.keys() == {"answered"}
    assert crew[0].outcomes["answered"] > CYCLES
    assert client.ping()


class CuttingRelay(threading.Thread):
    """Passes bytes on to a server, and cuts each connection after so many, wherever that is."""

    def __init__(self, port: int, seed: int, most_bytes: int) -> None:
        super().__init__()
        self.cuts = 0
        self.done = threading.Event()
        self._server = ("127.0.0.1", port)
        self._generator = random.Random(seed)
        self._most_bytes = most_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        with self._listener, contextlib.ExitStack() as connections:
            self._listener.settimeout(0.05)
            while not self.done.is_set():
                with contextlib.suppress(TimeoutError):
                    client = connections.enter_context(self._listener.accept()[0])
                    server = connections.enter_context(socket.create_connection(self._server))
                    left = self._generator.randrange(self._most_bytes)
                    threading.Thread(target=self._pass_on, args=[client, server, left]).start()

    def _pass_on(self, client: socket.socket, server: socket.socket, left: int) -> None:
        with client, server, contextlib.suppress(OSError):
            while left and not self.done.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    received = source.recv(min(left, 4096))
                    if not received:
                        return
                    (server if source is client else client).sendall(received)
                    left -= len(received)
            self.cuts += left == 0


def test_connections_that_are_lost_at_any_byte_cost_nobody_else_anything(server):
    relay = CuttingRelay(server.port, seed=2, most_bytes=60_000)
    relay.start()
    try:
        with robots(relay.port, 3) as cut_off, robots(server.port, 1, PATIENT_MS) as spared:
            wait_until(lambda: relay.cuts >= CYCLES, timeout_s=60.0)
    finally:
        relay.done.set()
        relay.join(10)
    outcomes = sum((robot.outcomes for robot in cut_off), Counter())
    assert outcomes["WRONG ANSWER"] == spared[0].outcomes["WRONG ANSWER"] == 0
    assert outcomes["answered"] > CYCLES
    assert outcomes["timed out"] >= CYCLES / 4
    assert spared[0].outcomes.keys() == {"answered"}
    assert server.metrics()["errors"].keys() <= {"PolicyTimeoutError"}


def test_ten_thousand_mutated_messages_are_each_answered(server, client):
    outcomes = fuzz(range(10_000), server.port)
    assert outcomes["decoded"] + outcomes["refused"] == 10_000
    assert outcomes["answered"] + outcomes["error"] >= 10_000
    assert min(outcomes[kind] for kind in ("decoded", "refused", "answered", "error")) > 100
    assert client.ping()


# A policy that is no good


class Moody(ToyPolicy):
    """Does what the options say."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.recovered = threading.Event()

    def _get_action(self, observation: Any, options: Any = None) -> Any:
        self.calls += 1
        mood = (options or {}).get("mood")
        if mood == "hangs":
            self.recovered.wait(30)
        if mood == "raises":
            raise RuntimeError("not today")
        action, info = super()._get_action(observation, options)
        if mood == "nan":
            action["gripper"] = action["gripper"] * np.float32("nan")
        if mood == "shape":
            action["gripper"] = action["gripper"][:, :3]
        if mood == "nothing":
            return None
        return action, info


@pytest.mark.parametrize(
    ("mood", "says"),
    [("raises", "not today"), ("nan", "not finite"), ("shape", "steps"), ("nothing", "TypeError")],
)
def test_a_bad_answer_is_an_error_to_its_client_alone(mood, says):
    with (
        PolicyServer(Moody(), host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        for _ in range(20):
            with pytest.raises(RemoteError, match=says):
                client.get_action(toy_observation(), {"mood": mood})
            client.get_action(toy_observation())
        assert sum(server.metrics()["errors"].values()) == 20


def test_a_policy_that_hangs_costs_each_client_its_own_timeout_and_nothing_is_computed_later():
    policy = Moody()
    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port) as unlucky,
        PolicyClient("127.0.0.1", server.port) as other,
    ):
        for client in (unlucky, other):
            client.get_action(toy_observation())
            client.timeout_ms = 1000  # enough for each request to reach a busy server
        with pytest.raises(PolicyTimeoutError):
            unlucky.get_action(toy_observation(), {"mood": "hangs"})
        for _ in range(5):
            with pytest.raises(PolicyTimeoutError):
                other.get_action(toy_observation())
            assert other.ping()
            assert server.metrics()["in_progress"] == "get_action"
        policy.recovered.set()
        for client in (unlucky, other):
            client.timeout_ms = PATIENT_MS
            client.get_action(toy_observation())
        assert policy.calls == 5
        # Those that waited were dropped when their client gave up.
        wait_until(lambda: server.metrics()["errors"] == {"PolicyTimeoutError": 5})
