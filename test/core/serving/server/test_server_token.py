# SPDX-License-Identifier: Apache-2.0
"""Which tokens a server accepts, and its warning when it accepts everybody."""

import pytest
from peers.stock import StockClient
from server_rig import RUNNING, serving
from toy_policy import ToyPolicy

from gr00t_policy_core import MsgSerializer, PolicyClient, PolicyServer, SpecError


@pytest.mark.parametrize(
    "token", [..., None, "", "wrong", "s3cret2", 5, True, ["s3cret"], {"a": 1}]
)
def test_a_wrong_token_lets_nobody_in_and_nothing_of_the_data_is_decoded(ask, token):
    class Watched(MsgSerializer):
        decoded = 0

        @classmethod
        def decode(cls, buffer, *, writable=False):
            cls.decoded += 1
            return super().decode(buffer, writable=writable)

    with serving(api_token="s3cret", serializer=Watched) as server:
        request = {"endpoint": "reset", "data": {"options": {"__ndarray_class__": "malformed"}}}
        if token is not ...:
            request["api_token"] = token
        assert ask(server, request) == {
            "status": "error",
            "error": "Unauthorized: Invalid API token",
        }
        assert Watched.decoded == 0
        assert ask(server, {**request, "endpoint": "nope"})["error"].startswith("Unauthorized")
        assert ask(server, {**request, "endpoint": "kill"})["error"].startswith("Unauthorized")
        assert ask(server, {"endpoint": "ping", "api_token": "s3cret"}) == RUNNING


def test_a_token_of_any_text_is_compared(ask):
    with serving(api_token="schlüssel") as server:
        assert ask(server, {"endpoint": "ping", "api_token": "schlüssel"}) == RUNNING
        assert "Unauthorized" in ask(server, {"endpoint": "ping", "api_token": "x"})["error"]


def test_a_stock_client_shows_its_token(line):
    with (
        serving(api_token="s3cret") as server,
        StockClient(line, server.port, api_token="s3cret") as client,
    ):
        assert client.call("ping") == RUNNING


@pytest.mark.parametrize("token", ["", b"bytes", 5])
def test_a_token_that_protects_nothing_is_refused(token):
    with pytest.raises(SpecError, match="api_token"):
        PolicyServer(ToyPolicy(), port=0, api_token=token)


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("*", None, True), ("*", "s3cret", False), ("127.0.0.1", None, False)],
)
def test_a_server_open_to_the_network_without_a_token_says_so(caplog, host, token, warned):
    with (
        PolicyServer(ToyPolicy(), host=host, port=0, api_token=token) as server,
        PolicyClient("127.0.0.1", server.port, api_token=token) as client,
    ):
        assert client.ping()
    assert ("open to the network" in caplog.text) is warned
