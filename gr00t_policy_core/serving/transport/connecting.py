# SPDX-License-Identifier: Apache-2.0
"""Connecting to a name with several addresses: attempts race (RFC 8305), within the deadline."""

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

ATTEMPT_DELAY_S = 0.25  # before the next address is tried beside those before it: RFC 8305, 5

UNREACHABLE = (
    "the connection is not accepted: the machine is off or cannot be reached, a firewall drops "
    "it, or the server is overloaded"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host, as the `socket` module takes it."""

    family: int
    sockaddr: Any


def dial(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connect to a server; of several addresses the first that accepts wins.

    Args:
        host: Name or address, or ``ipc://`` and the path of a Unix socket.
        port: Not used with a Unix socket.
        deadline: When to give up.

    Returns:
        A connected, non-blocking socket.

    Raises:
        TimeoutError: No address accepted in time, or the resolver did not answer.
        OSError: Every address refused, or the host is not known.
    """
    if addresses.is_ipc(host):
        return _connect_unix(host[len(addresses.IPC) :], deadline)
    connected = race(resolve(host, port, deadline), deadline)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connected


def resolve(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of a host, in the order in which they are to be tried.

    A resolver that hangs is left behind when the time is up.

    Raises:
        TimeoutError: No answer in time.
        OSError: Nobody knows the host.
    """
    bare = host.strip("[]")
    with contextlib.suppress(OSError, UnicodeError):
        return _look_up(bare, port, socket.AI_NUMERICHOST)
    found: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(_look_up(bare, port, 0))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=look_up, name="gr00t-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.remaining_s)
    except queue.Empty:
        raise TimeoutError(f"the address of {host} is not found in time") from None
    if isinstance(answer, Exception):
        raise OSError(f"no host {host} is known: {answer}") from answer
    return _by_turns(answer)


def race(candidates: Sequence[Address], deadline: Deadline) -> socket.socket:
    """Connect to the first address that accepts.

    Each gets a head start of `ATTEMPT_DELAY_S` before the next one, which begins at once where
    those before it have failed.

    Raises:
        TimeoutError: None accepted in time.
        OSError: All of them failed; a refusal is told rather than anything else.
    """
    left = deque(candidates)
    failures: list[OSError] = []
    with selectors.PollSelector() as attempts:
        try:
            while left or attempts.get_map():
                if left:
                    _begin(left.popleft(), attempts, failures)
                wait_s = min(ATTEMPT_DELAY_S, deadline.remaining_s) if left else None
                won = _first_connected(attempts, failures, wait_s, deadline)
                if won is not None:
                    return won
        finally:
            for key in list(attempts.get_map().values()):
                _socket_of(key).close()
    raise next(
        (error for error in failures if isinstance(error, ConnectionRefusedError)),
        failures[-1] if failures else ConnectionRefusedError("it has no address"),
    )


def _begin(address: Address, attempts: selectors.BaseSelector, failures: list[OSError]) -> None:
    try:
        attempt = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:  # a family that this machine does not have
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
    """Wait until an attempt succeeds (its socket is returned), fails, or the time is up."""
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
        raise TypeError(f"{attempt!r} is no socket")
    return attempt


def _look_up(host: str, port: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, flags)
    return [Address(int(family), sockaddr) for family, _, _, _, sockaddr in found]


def _by_turns(found: Sequence[Address]) -> list[Address]:
    """The families by turns, so that one that leads nowhere costs one attempt (RFC 8305, 4).

    IPv4 first: servers of Isaac-GR00T listen there.
    """
    old = [address for address in found if address.family == socket.AF_INET]
    new = [address for address in found if address.family != socket.AF_INET]
    pairs = chain.from_iterable(zip_longest(old, new))
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
