# SPDX-License-Identifier: Apache-2.0
"""The policy client with servers of both lines of Isaac-GR00T."""

import numpy as np
import pytest
from peers.lines import LINES
from peers.stock import StockServer
from server_rig import free_port
from toy_policy import expected_action, toy_observation

from gr00t_policy_core import (
    Dialect,
    ModalityConfig,
    PolicyClient,
    RemoteError,
)


@pytest.fixture
def stock_server(line):
    with StockServer(line) as running:
        yield running


@pytest.fixture
def stock_served(stock_server):
    """A client of a server of each line."""
    with PolicyClient("127.0.0.1", stock_server.port) as connected:
        yield connected


@pytest.mark.parametrize("strict", [True, False])
def test_actions_of_a_stock_server_are_understood_and_it_understands_us(stock_server, line, strict):
    observation = toy_observation()
    with PolicyClient("127.0.0.1", stock_server.port, strict=strict) as client:
        action, info = client.get_action(observation, {"seed": 1})
        assert info == {"options": {"seed": 1}}
        assert client.dialect is Dialect(line.name)
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)


def test_arrays_for_any_endpoint_of_a_stock_server_are_in_its_dialect(stock_server, stock_served):
    start = np.arange(3)
    stock_served.call_endpoint("reset", {"options": {"start": start}})
    received = stock_server.requests[-1]["data"]["options"]["start"]
    np.testing.assert_array_equal(received, start)


def test_a_stock_server_is_asked_for_its_configs_only_once(stock_server, stock_served):
    for _ in range(3):
        stock_served.get_action(toy_observation())
    asked = [request["endpoint"] for request in stock_server.requests]
    assert asked == ["get_modality_config", "get_action", "get_action", "get_action"]


def test_every_endpoint_of_a_stock_server_is_understood(stock_served):
    assert stock_served.ping()
    assert stock_served.reset({"episode_index": 5}) == {"options": {"episode_index": 5}}
    assert stock_served.get_modality_config()["video"] == ModalityConfig([0], ["front", "wrist"])
    assert stock_served.get_dimensions() == {}
    assert stock_served.get_capabilities() == ("absolute_actions",)  # as its policies are written
    stock_served.kill_server()


def test_bare_replies_are_brought_into_one_form(stock_served):
    assert stock_served.send_request("ping") == {
        "status": "success",
        "data": {"status": "ok", "message": "Server is running"},
    }
    assert stock_served.send_request("nope") == {
        "status": "error",
        "error": "Unknown endpoint: nope",
    }


def test_errors_of_a_stock_server_are_raised(stock_server, stock_served):
    with pytest.raises(RemoteError, match=rf"127\.0\.0\.1:{stock_server.port} nope: Unknown"):
        stock_served.call_endpoint("nope")
    assert stock_served.ping()


def test_a_stock_server_sees_our_token(line):
    with StockServer(line, api_token="s3cret") as server:
        with PolicyClient("127.0.0.1", server.port, api_token="s3cret") as client:
            assert client.ping()
            client.get_action(toy_observation())
        with PolicyClient("127.0.0.1", server.port) as client:
            with pytest.raises(RemoteError, match="Unauthorized"):
                client.get_action(toy_observation())
            with pytest.raises(RemoteError, match="Unauthorized"):
                client.ping()


def test_a_server_of_the_other_line_in_the_same_place_is_asked_in_its_own_way_at_once():
    lines = [LINES[name]() for name in ("n1d6", "n1d7", "n1d6")]
    with StockServer(lines[0], port=free_port()) as first:
        client = PolicyClient("127.0.0.1", first.port)
        client.get_action(toy_observation())
    for line in lines[1:]:
        with StockServer(line, port=first.port):
            client.get_action(toy_observation())
            assert client.dialect is Dialect(line.name)
    client.close()
