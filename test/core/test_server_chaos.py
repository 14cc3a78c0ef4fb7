# SPDX-License-Identifier: Apache-2.0
"""Death, silence and garbage by the hundred, with every outcome counted."""

import contextlib
import os
import random
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
import zmq
from conftest import wait_until
from toy_policy import ToyPolicy, expected_action, toy_observation

from gr00t_policy_core import PolicyClient, PolicyError, PolicyServer, RemoteError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.fuzz import fuzz  # the repository's root is on the path only now

CYCLES = 100  # of each kind of violence
HERE = Path(__file__).resolve().parent


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


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
    crew = [Robot(port, seed, timeout_ms) for seed in range(count)]
    for robot in crew:
        robot.start()
    try:
        yield crew
    finally:
        for robot in crew:
            robot.done.set()
        for robot in crew:
            robot.join(10)
            assert not robot.is_alive()


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
    with phoenix("client", server.port) as stranger, robots(server.port, 1, 10_000) as crew:
        for cycle in range(2 * CYCLES):
            threading.Event().wait(generator.uniform(0, 0.02))
            if cycle % 2:
                stranger.freeze(generator.uniform(0, 0.01))
            else:
                stranger.kill()
    assert crew[0].outcomes["WRONG ANSWER"] == 0
    assert crew[0].outcomes["timed out"] == 0
    assert crew[0].outcomes["answered"] > CYCLES
    assert server.metrics()["requests"]["get_action"] > crew[0].outcomes["answered"]
    assert client.ping()


def test_ten_thousand_mutated_messages_are_each_answered(server, client):
    outcomes = fuzz(range(10_000), server.port)
    assert outcomes["decoded"] + outcomes["refused"] == 10_000
    assert outcomes["answered"] + outcomes["error"] >= 10_000
    assert min(outcomes[kind] for kind in ("decoded", "refused", "answered", "error")) > 100
    assert client.ping()


# Below ZeroMQ's messages: bytes on the socket

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03REQ"


def handshaken(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(GREETING)
    received = b""
    while len(received) < 64:
        received += connection.recv(64 - len(received))
    connection.sendall(READY)
    assert connection.recv(1024)
    return connection


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def closed_by_peer(connection: socket.socket) -> bool:
    try:
        return connection.recv(1024) == b""
    except ConnectionError:
        return True


def test_a_message_by_hand_is_answered(server):
    with handshaken(server.port) as connection:
        body = b"\x81\xa8endpoint\xa4ping"
        connection.sendall(b"\x01\x00" + b"\x00" + bytes([len(body)]) + body)
        assert b"Server is running" in connection.recv(1024)


@pytest.mark.parametrize("size", [2**31, 2**40, 2**63 - 1])
def test_gigabytes_that_are_only_announced_cost_the_connection_and_no_memory(server, client, size):
    client.ping()
    before = resident_bytes()
    with handshaken(server.port) as connection:
        connection.sendall(b"\x01\x00" + b"\x02" + size.to_bytes(8, "big") + bytes(1000))
        assert closed_by_peer(connection)
    assert client.ping()
    assert resident_bytes() - before < 64 * 2**20


def test_half_a_message_costs_the_next_client_nothing(server, client):
    halves = []
    for _ in range(50):
        connection = handshaken(server.port)
        connection.sendall(b"\x01\x00" + b"\x02" + (10**6).to_bytes(8, "big") + bytes(1000))
        halves.append(connection)
    assert client.ping()
    for connection in halves:
        connection.close()
    client.get_action(toy_observation())


def test_a_message_of_many_large_frames_is_refused_as_a_whole(sockets):
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "max_message_bytes": 100_000}
    with PolicyServer(ToyPolicy(), **settings) as server:
        dealer = sockets.socket(zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{server.port}")
        dealer.send_multipart([b"", *[bytes(90_000)] * 5])
        assert dealer.poll(10_000)
        assert b"450000 bytes, at most 100000" in dealer.recv_multipart()[-1]


# A policy that is no good


class Moody(ToyPolicy):
    """Does what the options say."""

    def _get_action(self, observation: Any, options: Any = None) -> Any:
        mood = (options or {}).get("mood")
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
