# SPDX-License-Identifier: Apache-2.0
"""Clients of a secured server that leave: noticed although libzmq does not report it."""

import contextlib
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from crowds import GatedPolicy, observe
from server_rig import serving, wait_until
from toy_policy import expected_action, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.serving.transport.curve_keys import write_keys


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    write_keys(tmp_path / "keys", ["robot"])
    return tmp_path / "keys"


def test_a_server_that_saw_many_visitors_stops(keys):
    """libzmq tells each of them, and would wait for ever for somebody to read that."""
    server = PolicyServer(GatedPolicy(), host="127.0.0.1", port=0, keys=keys)
    for _ in range(1500):
        with socket.create_connection(("127.0.0.1", server.port), 10) as visitor:
            assert visitor.recv(1)  # it was accepted
    stopping = threading.Thread(target=server.stop, daemon=True)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()


def client_of(server: PolicyServer, keys: Path, timeout_ms: int = 10_000) -> PolicyClient:
    mine = {"server_key": keys / "server.key", "keys": keys / "robot.key_secret"}
    return PolicyClient("127.0.0.1", server.port, timeout_ms=timeout_ms, strict=False, **mine)


def test_what_a_client_that_gave_up_asked_for_is_dropped(keys):
    policy = GatedPolicy()
    with (
        serving(policy, keys=keys) as server,
        client_of(server, keys) as first,
        client_of(server, keys) as patient,
    ):
        holding = threading.Thread(target=first.get_action, args=(observe(0),))
        holding.start()
        assert policy.entered.wait(10)
        for _ in range(5):
            with client_of(server, keys, 300) as impatient, contextlib.suppress(TimeoutError):
                impatient.get_action(observe(1))
        wait_until(lambda: server.metrics()["waiting"]["requests"] == 0)
        waiting = threading.Thread(target=patient.get_action, args=(observe(2),))
        waiting.start()
        policy.release.set()
        holding.join(10)
        waiting.join(10)
        assert policy.later_calls == [1]


def test_clients_that_come_and_go_are_never_taken_for_each_other(keys):
    """Descriptors are used again at once; whoever stays is answered whatever others do."""
    right: list[bool] = []

    def visit(server: PolicyServer, seed: int) -> None:
        for number in range(10):
            with client_of(server, keys, 20_000) as client:
                for again in range(2):
                    observation = toy_observation()
                    values = np.random.default_rng([seed, number, again]).normal(size=(1, 1, 5))
                    observation["state"]["single_arm"] = values.astype(np.float32)
                    action, _ = client.get_action(observation)
                    wanted = expected_action(observation)["single_arm"]
                    right.append(np.array_equal(action["single_arm"], wanted))

    with serving(keys=keys) as server:
        visitors = [threading.Thread(target=visit, args=(server, seed)) for seed in range(4)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(60)
        wait_until(lambda: not server._transport._monitor._by_descriptor)
    assert right == [True] * 80
