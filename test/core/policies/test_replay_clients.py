# SPDX-License-Identifier: Apache-2.0
"""A replayed dataset on a server: several clients, each at a place of its own."""

import struct
import threading
from collections.abc import Iterator

import msgpack
import pytest
import zmq
from peers.stock import StockClient
from replays import observation

from gr00t_policy_core import PolicyClient, PolicyServer, PolicyTimeoutError, ReplayPolicy
from gr00t_policy_core.policies.replay import MAX_CLIENTS
from gr00t_policy_core.policy import ClientScope


@pytest.fixture
def replay_server(v2_dataset) -> Iterator[PolicyServer]:
    with PolicyServer(ReplayPolicy(v2_dataset), host="127.0.0.1", port=0) as running:
        yield running


def steps_played(client: PolicyClient, count: int) -> list[int]:
    return [client.get_action(observation())[1]["step_index"] for _ in range(count)]


def test_each_client_plays_on_its_own(replay_server):
    with (
        PolicyClient("127.0.0.1", replay_server.port) as first,
        PolicyClient("127.0.0.1", replay_server.port) as second,
    ):
        assert steps_played(first, 2) == [0, 16]
        assert steps_played(second, 1) == [0]
        assert second.reset({"episode_index": 1, "step_index": 3})["episode_index"] == 1
        assert steps_played(first, 1) == [32]
        assert steps_played(second, 2) == [3, 19]
        assert first.reset()["episode_index"] == 0


def test_a_client_that_had_to_connect_again_goes_on_where_it_was(replay_server):
    answered = threading.Event()
    replay_server.register_endpoint("wait", lambda: answered.wait(10), requires_input=False)
    with PolicyClient("127.0.0.1", replay_server.port, timeout_ms=10_000) as client:
        assert steps_played(client, 2) == [0, 16]
        client.timeout_ms = 100
        with pytest.raises(PolicyTimeoutError):
            client.call_endpoint("wait", requires_input=False)
        answered.set()
        client.timeout_ms = 10_000
        assert steps_played(client, 1) == [32]


def test_stock_clients_play_on_their_own_while_they_are_connected(replay_server, line):
    with (
        StockClient(line, replay_server.port) as first,
        StockClient(line, replay_server.port) as second,
    ):
        data = {"observation": observation()}
        told = [
            client.call("get_action", data=data)[1]["step_index"]
            for client in (first, second, first, second, second)
        ]
        assert told == [0, 0, 16, 16, 32]


def test_places_of_clients_without_end_are_not_kept(v2_dataset):
    policy = ReplayPolicy(v2_dataset)
    for number in range(MAX_CLIENTS + 1):
        with ClientScope(f"client {number}"):
            policy.reset({"episode_index": 1})
    with ClientScope("client 0"):
        assert policy.get_action(observation())[1]["episode_index"] == 0
    with ClientScope("client 2"):
        assert policy.get_action(observation())[1]["episode_index"] == 1


def test_no_client_can_call_itself_what_the_server_calls_another_ones_connection(
    replay_server, line, sockets
):
    """The first stock connection is named by its number, which everybody can guess."""
    data = {"observation": observation()}
    with StockClient(line, replay_server.port) as first:
        assert first.call("get_action", data=data)[1]["step_index"] == 0
        connection = struct.pack(">xI", 0).hex()  # as the listener names its first one
        for name in (connection, f"connection {connection}"):
            hostile = sockets.socket(zmq.REQ)
            hostile.connect(f"tcp://127.0.0.1:{replay_server.port}")
            hostile.send(msgpack.packb({"endpoint": "reset", "client": name, "data": {}}))
            assert hostile.poll(10_000)
        assert first.call("get_action", data=data)[1]["step_index"] == 16
