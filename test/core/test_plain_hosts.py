# SPDX-License-Identifier: Apache-2.0
"""Where a client connects to: the addresses that a name has, or has not."""

import socket
import threading

import pytest
from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyClient, PolicyServer, PolicyTimeoutError
from gr00t_policy_core.serving import plain_channel


def test_a_resolver_that_hangs_does_not_keep_a_call_beyond_its_time(monkeypatch):
    released = threading.Event()
    real = socket.getaddrinfo

    def hanging(host, port, family, kind, proto=0, flags=0):
        if not flags:
            released.wait(20)
        return real(host, port, family, kind, proto, flags)

    monkeypatch.setattr(plain_channel.socket, "getaddrinfo", hanging)
    with PolicyClient("some.host.invalid", 5555, timeout_ms=200) as client:
        with pytest.raises(PolicyTimeoutError, match=r"some\.host\.invalid:5555 reset"):
            client.reset()
        released.set()


def test_a_name_that_has_only_an_ipv6_address_is_found(monkeypatch):
    real = socket.getaddrinfo

    def only_ipv6(host, port, family, kind, proto=0, flags=0):
        return real("::1" if host == "six.invalid" and not flags else host, port, 0, kind, 0, flags)

    with PolicyServer(ToyPolicy(), host="::1", port=0) as server:
        monkeypatch.setattr(plain_channel.socket, "getaddrinfo", only_ipv6)
        with PolicyClient("six.invalid", server.port) as client:
            assert client.ping()


def test_a_server_that_listens_on_one_of_a_names_addresses_is_found():
    with PolicyServer(ToyPolicy(), host="::1", port=0) as server:
        listed = [("127.0.0.1", server.port), ("::1", server.port, 0, 0)]
        found = [
            (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, 0, 0, "", address)
            for address in listed
        ]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plain_channel, "_resolved", lambda *_: found)
            with PolicyClient("two.invalid", server.port) as client:
                assert client.ping()


@pytest.mark.parametrize("host", ["robot..local", ".robot", "r" * 64])
def test_a_name_that_no_host_can_have_is_a_host_that_nobody_knows(host):
    with (
        PolicyClient(host, 5555, timeout_ms=200) as client,
        pytest.raises(PolicyTimeoutError, match=f"no host {host} is known"),
    ):
        client.reset()


def test_a_host_that_nobody_knows_is_named(monkeypatch):
    def unknown(host, port, family, kind, proto=0, flags=0):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(plain_channel.socket, "getaddrinfo", unknown)
    with (
        PolicyClient("some.host.invalid", 5555, timeout_ms=200) as client,
        pytest.raises(PolicyTimeoutError, match=r"no host some\.host\.invalid is known"),
    ):
        client.reset()
