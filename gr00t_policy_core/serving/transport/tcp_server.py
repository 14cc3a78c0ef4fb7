# SPDX-License-Identifier: Apache-2.0
"""A server's transport in plain text: ZMTP over TCP or a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Sequence

from gr00t_policy_core.serving.transport import addresses, bind_addresses
from gr00t_policy_core.serving.transport.addresses import IPC_PEER, is_ipc
from gr00t_policy_core.serving.transport.base import (
    LINGER_S,
    OnDisconnect,
    OnMessage,
    OnReject,
    Sender,
    Waker,
)
from gr00t_policy_core.serving.transport.bind_addresses import IpcSocketFile
from gr00t_policy_core.serving.transport.memory_budget import MemoryBudget
from gr00t_policy_core.serving.transport.rate_limit import RateLimiter
from gr00t_policy_core.serving.transport.tcp_connection_table import (
    ConnectionLimits,
    ConnectionTable,
)
from gr00t_policy_core.serving.transport.tcp_server_connection import ServerConnection

logger = logging.getLogger(__name__)

BACKLOG = 128
EXHAUSTED_PAUSE_MS = 200  # while the system has no more sockets
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TCP_OPTIONS = {
    "TCP_NODELAY": 1,
    # Clients whose machine vanishes are disconnected within about a minute, ...
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    # ... also while a reply is on its way to them (tcp(7)).
    "TCP_USER_TIMEOUT": 60_000,
}


class TcpTransport:
    """Accepts clients, each as a `ServerConnection`; see `Transport`.

    Args:
        host: ``"*"`` for every interface (IPv6 too where there is one), an address, the name of
            an interface or of this machine; or ``ipc://`` and a path, for a Unix socket.
        port: 0 picks a free one; not used with a Unix socket.
        limits: The most connections, bytes and descriptors that clients can use.
        requires_token: Whether requests must carry a token; clients that have not shown it can use
            less memory.
        on_reject: Called with the address of each client that is disconnected, and why.
        on_disconnect: Called with each connection that has ended, in any thread.

    Raises:
        AddressError: The server cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits,
        requires_token: bool,
        on_reject: OnReject,
        on_disconnect: OnDisconnect,
    ) -> None:
        self._max_message_bytes = limits.message_bytes
        self._receive_budget = MemoryBudget(limits.receiving_bytes, requires_token=requires_token)
        self._reply_budget = MemoryBudget(limits.receiving_bytes, requires_token=False)
        self._rate_limiter = RateLimiter()
        self._on_reject = on_reject
        self._on_disconnect = on_disconnect
        self._socket = _listen(host, port)
        self._socket.setblocking(False)
        self.address = host if is_ipc(host) else _url(self._socket)
        self.port = 0 if is_ipc(host) else int(self._socket.getsockname()[1])
        self._ipc_file = IpcSocketFile(host) if is_ipc(host) else None
        self._waker = Waker()
        self.wake = self._waker.wake
        self.wake_on_signals = self._waker.wake_on_signals
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._waker.readable, select.POLLIN)
        self._wake_poll = select.poll()
        self._wake_poll.register(self._waker.readable, select.POLLIN)
        self._names = itertools.count()
        self._connections = ConnectionTable(limits)

    def run_once(self, timeout_s: float | None, on_message: OnMessage) -> None:
        """See `Transport`."""
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
        ready = dict(self._poll.poll(timeout_ms))
        if self._waker.readable.fileno() in ready:
            self._waker.drain()
        if self._socket.fileno() in ready:
            self._accept(on_message)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """See `Transport`."""
        connection = self._connections.find(route[0])
        if connection is not None:
            connection.send(route[1:], reply)

    def close(self) -> None:
        """See `Transport`."""
        if self._ipc_file is not None:
            self._ipc_file.remove()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a forked child may hold a copy
        self._socket.close()
        self._end_connections(time.monotonic() + LINGER_S, at_once=False)
        self._end_connections(time.monotonic() + LINGER_S, at_once=True)
        self._waker.close()

    def _end_connections(self, until_s: float, *, at_once: bool) -> None:
        connections = self._connections.all()
        for connection in connections:
            connection.end(at_once=at_once)
        for connection in connections:
            connection.join(max(0.0, until_s - time.monotonic()))

    def _accept(self, on_message: OnMessage) -> None:
        try:
            accepted, address = self._socket.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._on_reject("unknown address", error)
                if not self._connections.evict_one(f"the system has no room: {error}"):
                    self._wake_poll.poll(EXHAUSTED_PAUSE_MS)
            return  # otherwise the client disconnected before it was accepted
        peer = "unknown address"
        try:
            peer = _peer(accepted, address)
            _set_options(accepted)
            machine = addresses.machine(peer)
            self._connections.make_room(machine)
            sender = Sender(machine, self._rate_limiter.for_connection(machine))
            self._start_connection(accepted, peer, sender, on_message)
        except Exception as error:  # of one client, which must not cost the others the server
            accepted.close()
            self._on_reject(peer, error)

    def _start_connection(
        self, accepted: socket.socket, peer: str, sender: Sender, on_message: OnMessage
    ) -> None:
        connection = self._make_connection(accepted, peer, sender, on_message)
        try:
            self._start(connection)
        except RuntimeError as error:  # no more threads
            if not self._connections.evict_one(f"the system has no room: {error}"):
                raise
            self._start(self._make_connection(accepted, peer, sender, on_message))

    def _make_connection(
        self, accepted: socket.socket, peer: str, sender: Sender, on_message: OnMessage
    ) -> ServerConnection:
        return ServerConnection(
            accepted,
            struct.pack(">xI", next(self._names) & 0xFFFFFFFF),
            peer,
            sender,
            max_message_bytes=self._max_message_bytes,
            receive_budget=self._receive_budget,
            reply_budget=self._reply_budget,
            on_message=on_message,
            on_end=self._ended,
        )

    def _start(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        try:
            connection.start()
        except RuntimeError:
            self._connections.remove(connection)
            raise

    def _ended(self, connection: ServerConnection, problem: Exception | None) -> None:
        self._connections.remove(connection)
        self._on_disconnect(connection.sender)
        if problem is not None:
            self._on_reject(connection.peer, problem)


def _listen(host: str, port: int) -> socket.socket:
    if is_ipc(host):
        return _listen_on_path(host)
    failure: Exception | None = None
    for interface, ipv6 in bind_addresses.bind_candidates(host):
        is_any = interface == bind_addresses.ANY_INTERFACE
        try:
            return socket.create_server(
                ("" if is_any else interface, port),
                family=socket.AF_INET6 if ipv6 else socket.AF_INET,
                backlog=BACKLOG,
                dualstack_ipv6=ipv6 and (is_any or interface == "::"),
            )
        except (OSError, OverflowError, ValueError) as error:
            failure = error
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                break
    raise bind_addresses.bind_error(host, port, failure)


def _listen_on_path(host: str) -> socket.socket:
    bind_addresses.check_ipc_is_free(host)
    path = host[len(addresses.IPC) :]
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # left by a server that was killed
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise bind_addresses.bind_error(host, 0, error) from None
    return listener


def _set_options(accepted: socket.socket) -> None:
    accepted.setblocking(True)
    if accepted.family == socket.AF_UNIX:
        return
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        if hasattr(socket, name):  # not every system has all of them
            accepted.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return addresses.url(host, port)


def _peer(accepted: socket.socket, address: object) -> str:
    """The client's address; for a Unix socket its user and process, where the system tells."""
    if isinstance(address, tuple) and address:
        return str(address[0])
    if not hasattr(socket, "SO_PEERCRED"):
        return IPC_PEER
    credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    return f"{IPC_PEER}{uid}:{gid}:{pid}"
