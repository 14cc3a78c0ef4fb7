# SPDX-License-Identifier: Apache-2.0
"""Failover between several servers: in order, and back to an earlier one when it recovers."""

import contextlib
import threading

import pytest
from server_rig import free_port, wait_until
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer, PolicyTimeoutError, SpecError
from gr00t_policy_core.serving.client import failover
from gr00t_policy_core.serving.client.settings import parse_hosts


class Named(ToyPolicy):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def reset(self, options=None):
        return {"name": self.name}


def serve(name, port=None):
    """At a port that nobody else gets while the server is away."""
    return PolicyServer(Named(name), host="127.0.0.1", port=port or free_port())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(failover, "RETURN_S", 0.05)
    monkeypatch.setattr(failover, "PROBE_S", 2.0)


def client_of(*ports, **settings):
    settings = {"timeout_ms": 30_000, **settings}
    return PolicyClient(hosts=[f"127.0.0.1:{port}" for port in ports], **settings)


def name_of(client):
    return client.reset()["name"]


def test_the_first_that_answers_is_asked():
    with serve("a") as a, serve("b") as b:
        with client_of(a.port, b.port) as client:
            assert name_of(client) == "a"
            assert (client.host, client.port) == ("127.0.0.1", a.port)
        with client_of(free_port(), b.port) as client:
            assert name_of(client) == "b"
            client.get_action(toy_observation())


def test_a_server_that_goes_is_replaced_and_taken_again_when_it_is_back():
    with serve("b") as b, contextlib.ExitStack() as stack:
        a = stack.enter_context(serve("a"))
        client = stack.enter_context(client_of(a.port, b.port, timeout_ms=1000))
        assert name_of(client) == "a"
        a.stop()
        with pytest.raises(PolicyTimeoutError):
            client.reset()
        client.timeout_ms = 30_000
        assert name_of(client) == "b"
        stack.enter_context(serve("a", a.port))
        wait_until(lambda: name_of(client) == "a")


def test_a_server_that_still_loads_is_passed_over():
    release = threading.Event()

    def load():
        release.wait(20)
        return Named("a")

    with (
        PolicyServer(load, host="127.0.0.1", port=0) as a,
        serve("b") as b,
        client_of(a.port, b.port) as client,
    ):
        assert name_of(client) == "b"
        release.set()
        wait_until(lambda: name_of(client) == "a")


def test_where_none_is_ready_a_server_that_loads_tells_so():
    release = threading.Event()

    def load():
        release.wait(20)
        return Named("b")

    with (
        PolicyServer(load, host="127.0.0.1", port=0) as b,
        client_of(free_port(), b.port) as client,
    ):
        assert client.get_state() == "loading"
        with pytest.raises(PolicyTimeoutError, match=f"127.0.0.1:{b.port} loading"):
            client.reset()
        release.set()
        client.wait_until_ready(20)
        assert name_of(client) == "b"


def test_where_none_answers_all_are_named_within_the_time():
    ports = free_port(), free_port()
    with client_of(*ports, timeout_ms=300) as client:
        silent = [f"127.0.0.1:{port} gives no answer" for port in ports]
        with pytest.raises(PolicyTimeoutError, match=", ".join(silent)):
            client.reset()
        assert client.ping() is False


def test_hosts_may_leave_the_port_to_the_common_one():
    assert parse_hosts(["a", "b:1", "[::1]:2", "::1", "[::1]"], 7) == [
        ("a", 7),
        ("b", 1),
        ("[::1]", 2),
        ("::1", 7),
        ("[::1]", 7),
    ]


@pytest.mark.parametrize("hosts", [[], "a:1", [5], ["a:b"], ["a:0"], ["*"]])
def test_hosts_that_are_none_are_refused(hosts):
    with pytest.raises(SpecError, match="bad client setting: hosts"):
        PolicyClient(hosts=hosts)
