# SPDX-License-Identifier: Apache-2.0
"""Impatient clients at a real server: the requests that they abandon cost other clients nothing."""

import contextlib
import threading
from typing import Any

import pytest
import zmq
from crowds import GatedPolicy, assert_answered, crowded, observe
from server_rig import wait_until

from gr00t_policy_core import MsgSerializer
from gr00t_policy_core.serving.transport import addresses


def asked(sockets: zmq.Context, port: int, seed: int) -> zmq.Socket:
    """A stock-like request for an action; closing the socket gives it up."""
    asking = sockets.socket(zmq.REQ)
    asking.setsockopt(zmq.LINGER, 0)
    asking.connect(f"tcp://127.0.0.1:{port}")
    data = {"observation": observe(seed), "options": None}
    asking.send(MsgSerializer.to_bytes({"endpoint": "get_action", "data": data}))
    return asking


@pytest.fixture
def alone() -> Any:
    """A policy that joins nothing."""

    class Alone(GatedPolicy):
        max_batch_size = 1

    with crowded(Alone()) as crowd:
        yield crowd


def test_nothing_is_computed_for_clients_that_gave_up(alone, sockets):
    for seed in range(1, 21):
        with contextlib.closing(asked(sockets, alone.server.port, seed)):
            wait_until(lambda: alone.waiting == 1)
        wait_until(lambda: alone.waiting == 0)
    alone.ask("patient", observe(99))
    assert_answered(alone.finish()["patient"], observe(99))
    assert alone.policy.later_calls == [1]
    assert alone.server.metrics()["errors"] == {"PolicyTimeoutError": 20}


def test_a_client_that_gives_up_while_its_batch_is_read_has_no_part_in_it(sockets):
    class Watched(GatedPolicy):
        given_up: zmq.Socket | None = None

        def check_observation(self, observation):
            if self.given_up is not None and len(self.calls) == 1:
                self.given_up.close()
                wait_until(lambda: len(clients_threads()) == 2)  # those of a and b
                self.given_up = None
            super().check_observation(observation)

    policy = Watched()
    with crowded(policy) as crowd:
        policy.given_up = asked(sockets, crowd.server.port, 1)
        wait_until(lambda: crowd.waiting == 1)
        crowd.ask("a", observe(2))
        crowd.ask("b", observe(3))
        results = crowd.finish()
        assert_answered(results["a"], observe(2))
        assert_answered(results["b"], observe(3))
        assert policy.later_calls == [2]


def clients_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("gr00t-client")]


def test_a_waiting_request_keeps_its_place_while_another_reconnects(alone, sockets):
    alone.ask("patient", observe(1))
    for _ in range(3):
        with contextlib.closing(asked(sockets, alone.server.port, 2)):
            wait_until(lambda: alone.waiting == 2)
        wait_until(lambda: alone.waiting == 1)
    last = asked(sockets, alone.server.port, 2)
    wait_until(lambda: alone.waiting == 2)
    assert_answered(alone.finish()["patient"], observe(1))
    assert last.poll(10_000)


@pytest.mark.parametrize(
    ("peer", "machine"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("localhost:1000:1000:42", "localhost:1000:1000:42"),
        ("unknown address", "unknown address"),
    ],
)
def test_connections_of_one_machine_are_known_as_such(peer, machine):
    assert addresses.machine(peer) == machine
