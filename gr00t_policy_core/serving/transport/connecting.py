# SPDX-License-Identifier: Apache-2.0
"""Connecting a socket; of several addresses as RFC 8305 ("happy eyeballs") describes."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import socket
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport.deadline import Deadline

ATTEMPT_DELAY_S = 0.25  # before the next address is tried beside the earlier ones: RFC 8305, 5

UNREACHABLE = (
    "the connection is not accepted: the machine is off or cannot be reached, a firewall drops "
    "it, or the server is overloaded"
)


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """One address of a host, as the `socket` module takes it."""

    family: int
    sockaddr: Any


def connect_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connect to a server; of several addresses the first one that accepts is used.

    Args:
        host: Name or address, or ``ipc://`` and the path of a Unix socket.
        port: Not used with a Unix socket.
        deadline: When the attempts to connect end.

    Returns:
        A connected, non-blocking socket.

    Raises:
        TimeoutError: No address accepted in time, or the resolver did not answer.
        OSError: Every address refused, or the host is unknown.
    """
    if addresses.is_ipc(host):
        return _connect_unix(host[len(addresses.IPC) :], deadline)
    connected = connect_first(resolve(host, port, deadline), deadline)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connected


def resolve(host: str, port: int, deadline: Deadline) -> list[SocketAddress]:
    """The addresses of a host, in the order in which to try them.

    A resolver that hangs is abandoned at the deadline.

    Raises:
        TimeoutError: The resolver did not answer in time.
        OSError: The host is unknown.
    """
    bare_host = host.strip("[]")
    with contextlib.suppress(OSError, UnicodeError):
        return _look_up(bare_host, port, socket.AI_NUMERICHOST)
    results: queue.SimpleQueue[list[SocketAddress] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(_look_up(bare_host, port, 0))
        except (OSError, UnicodeError) as error:
            results.put(error)

    threading.Thread(target=look_up, name="gr00t-resolve", daemon=True).start()
    try:
        result = results.get(timeout=deadline.remaining_s)
    except queue.Empty:
        raise TimeoutError(f"the address of {host} was not resolved in time") from None
    if isinstance(result, Exception):
        raise OSError(f"unknown host {host}: {result}") from result
    return _interleave_families(result)


def connect_first(candidates: Sequence[SocketAddress], deadline: Deadline) -> socket.socket:
    """Connect to the first address that accepts.

    Each attempt gets a head start of `ATTEMPT_DELAY_S` before the next one begins, which begins at
    once where all earlier ones have failed.

    Raises:
        TimeoutError: No address accepted in time.
        OSError: All attempts failed; a refusal is reported in preference to other errors.
    """
    remaining = deque(candidates)
    failures: list[OSError] = []
    with selectors.PollSelector() as attempts:
        try:
            while remaining or attempts.get_map():
                if remaining:
                    _start_attempt(remaining.popleft(), attempts, failures)
                wait_s = min(ATTEMPT_DELAY_S, deadline.remaining_s) if remaining else None
                connected = _first_connected(attempts, failures, wait_s, deadline)
                if connected is not None:
                    return connected
        finally:
            for key in list(attempts.get_map().values()):
                _socket_of(key).close()
    raise next(
        (error for error in failures if isinstance(error, ConnectionRefusedError)),
        failures[-1] if failures else ConnectionRefusedError("the host has no address"),
    )


def _start_attempt(
    address: SocketAddress, attempts: selectors.BaseSelector, failures: list[OSError]
) -> None:
    try:
        attempt = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:  # an address family that this machine does not have
        failures.append(error)
        return
    try:
        attempt.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            attempt.connect(address.sockaddr)
        attempts.register(attempt, selectors.EVENT_WRITE)
    except BaseException as error:
        attempt.close()
        if not isinstance(error, OSError):
            raise
        failures.append(error)


def _first_connected(
    attempts: selectors.BaseSelector,
    failures: list[OSError],
    wait_s: float | None,
    deadline: Deadline,
) -> socket.socket | None:
    """Wait until an attempt succeeds (returns its socket), one fails, or the time is up."""
    if not attempts.get_map():
        return None
    ready = attempts.select(deadline.remaining_s if wait_s is None else wait_s)
    for key, _ in ready:
        attempt = _socket_of(key)
        code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        attempts.unregister(attempt)
        if not code:
            return attempt
        attempt.close()
        failures.append(OSError(code, os.strerror(code)))
    if not ready and not deadline.remaining_s:
        raise TimeoutError(UNREACHABLE)
    return None


def _socket_of(key: selectors.SelectorKey) -> socket.socket:
    attempt = key.fileobj
    if not isinstance(attempt, socket.socket):
        raise TypeError(f"expected a socket, got {attempt!r}")
    return attempt


def _look_up(host: str, port: int, flags: int) -> list[SocketAddress]:
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, flags)
    return [SocketAddress(int(family), sockaddr) for family, _, _, _, sockaddr in found]


def _interleave_families(found: Sequence[SocketAddress]) -> list[SocketAddress]:
    """Alternate IPv4 and IPv6, so that a family without a route costs one attempt (RFC 8305, 4).

    IPv4 comes first: servers of Isaac-GR00T listen there.
    """
    ipv4 = [address for address in found if address.family == socket.AF_INET]
    others = [address for address in found if address.family != socket.AF_INET]
    pairs = chain.from_iterable(zip_longest(ipv4, others))
    return [address for address in pairs if address is not None]


def _connect_unix(path: str, deadline: Deadline) -> socket.socket:
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.settimeout(max(deadline.remaining_s, 0.001))
        connecting.connect(path)
        connecting.setblocking(False)
    except BaseException:
        connecting.close()
        raise
    return connecting
