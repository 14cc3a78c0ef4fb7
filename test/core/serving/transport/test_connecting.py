# SPDX-License-Identifier: Apache-2.0
"""Connecting to a name: one with several addresses, or none."""

import contextlib
import socket
import threading

import pytest
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer, PolicyTimeoutError
from gr00t_policy_core.serving.transport import connecting
from gr00t_policy_core.serving.transport.curve_keys import write_keys
from gr00t_policy_core.serving.transport.deadline import Deadline


def know(monkeypatch, *sockaddrs):
    """Have every name resolved to these."""
    real = socket.getaddrinfo

    def resolved(host, port, family, kind, proto=0, flags=0):
        if flags:
            return real(host, port, family, kind, proto, flags)
        families = [socket.AF_INET6 if ":" in s[0] else socket.AF_INET for s in sockaddrs]
        return [(f, kind, 0, "", s) for f, s in zip(families, sockaddrs, strict=True)]

    monkeypatch.setattr(connecting.socket, "getaddrinfo", resolved)


@contextlib.contextmanager
def black_hole(address, port):
    """Connections there are neither accepted nor refused, as by a firewall that drops them."""
    with socket.socket() as listener, contextlib.ExitStack() as ending:
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):  # what the kernel keeps for a server that never accepts
            filling = ending.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex((address, port))
        yield


@contextlib.contextmanager
def serve(host, folder):
    """A server, secured where there is a folder for keys; and what its clients need."""
    keys = {}
    if folder is not None:
        write_keys(folder, ["arm"])
        keys = {"server_key": folder / "server.key", "keys": folder / "arm.key_secret"}
    with PolicyServer(ToyPolicy(), host=host, port=0, keys=folder) as server:
        yield server, keys


def test_a_resolver_that_hangs_does_not_keep_a_call_beyond_its_time(monkeypatch):
    released = threading.Event()
    real = socket.getaddrinfo

    def hanging(host, port, family, kind, proto=0, flags=0):
        if not flags:
            released.wait(20)
        return real(host, port, family, kind, proto, flags)

    monkeypatch.setattr(connecting.socket, "getaddrinfo", hanging)
    with PolicyClient("some.host.invalid", 5555, timeout_ms=200) as client:
        with pytest.raises(PolicyTimeoutError, match=r"some\.host\.invalid:5555 reset"):
            client.reset()
        released.set()


def test_a_name_that_has_only_an_ipv6_address_is_found(monkeypatch):
    real = socket.getaddrinfo

    def only_ipv6(host, port, family, kind, proto=0, flags=0):
        return real("::1" if host == "six.invalid" and not flags else host, port, 0, kind, 0, flags)

    with PolicyServer(ToyPolicy(), host="::1", port=0) as server:
        monkeypatch.setattr(connecting.socket, "getaddrinfo", only_ipv6)
        with PolicyClient("six.invalid", server.port) as client:
            assert client.ping()


@pytest.mark.parametrize("secured", [False, True])
def test_a_server_that_listens_on_one_of_a_names_addresses_is_found(secured, tmp_path, monkeypatch):
    with serve("::1", tmp_path if secured else None) as (server, keys):
        know(monkeypatch, ("127.0.0.1", server.port), ("::1", server.port, 0, 0))
        with PolicyClient("two.invalid", server.port, **keys) as client:
            assert client.ping()


@pytest.mark.parametrize("secured", [False, True])
def test_an_address_that_swallows_connections_does_not_keep_the_next_one_from_being_tried(
    secured, tmp_path, monkeypatch
):
    with (
        serve("127.0.0.1", tmp_path if secured else None) as (server, keys),
        black_hole("127.0.0.2", server.port),
        black_hole("127.0.0.3", server.port),
    ):
        know(monkeypatch, *[(f"127.0.0.{last}", server.port) for last in (2, 3, 1)])
        with PolicyClient("three.invalid", server.port, timeout_ms=10_000, **keys) as client:
            assert client.ping()
            client.get_action(toy_observation())


@pytest.mark.parametrize("secured", [False, True])
def test_where_every_address_swallows_connections_the_call_ends_in_time(
    secured, tmp_path, monkeypatch
):
    with (
        serve("127.0.0.1", tmp_path if secured else None) as (server, keys),
        black_hole("127.0.0.2", server.port),
        black_hole("127.0.0.3", server.port),
    ):
        know(monkeypatch, ("127.0.0.2", server.port), ("127.0.0.3", server.port))
        client = PolicyClient("two.invalid", server.port, timeout_ms=700, **keys)
        with client, pytest.raises(PolicyTimeoutError, match="the connection is not accepted"):
            client.reset()


def test_the_families_of_a_names_addresses_take_turns(monkeypatch):
    old = [("192.0.2.1", 1), ("192.0.2.2", 1)]
    new = [(f"2001:db8::{last}", 1, 0, 0) for last in (1, 2, 3)]
    know(monkeypatch, *new, *old)
    found = connecting.resolve("many.invalid", 1, Deadline(10_000))
    assert [address.sockaddr for address in found] == [old[0], new[0], old[1], new[1], new[2]]


@pytest.mark.parametrize("host", ["robot..local", ".robot", "r" * 64])
def test_a_name_that_no_host_can_have_is_a_host_that_nobody_knows(host):
    with (
        PolicyClient(host, 5555, timeout_ms=200) as client,
        pytest.raises(PolicyTimeoutError, match=f"unknown host {host}"),
    ):
        client.reset()


def test_a_host_that_nobody_knows_is_named(monkeypatch):
    def unknown(host, port, family, kind, proto=0, flags=0):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(connecting.socket, "getaddrinfo", unknown)
    with (
        PolicyClient("some.host.invalid", 5555, timeout_ms=200) as client,
        pytest.raises(PolicyTimeoutError, match=r"unknown host some\.host\.invalid"),
    ):
        client.reset()
