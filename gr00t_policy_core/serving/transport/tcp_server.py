# SPDX-License-Identifier: Apache-2.0
"""The transport of a server in plain text: sockets of our own, and a session for each client."""

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
from collections.abc import Callable, Sequence

from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport import bind_addresses as listening
from gr00t_policy_core.serving.transport.addresses import IPC_PEER, is_ipc
from gr00t_policy_core.serving.transport.base import LINGER_S, Deliver, Ended, Sender, Waker
from gr00t_policy_core.serving.transport.read_costs import Costs
from gr00t_policy_core.serving.transport.receive_budget import Intake
from gr00t_policy_core.serving.transport.tcp_connections import ConnectionLimits, Connections
from gr00t_policy_core.serving.transport.tcp_session import Session

logger = logging.getLogger(__name__)

BACKLOG = 128
EXHAUSTED_PAUSE_MS = 200  # when the system has no more sockets
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TCP_OPTIONS = {
    "TCP_NODELAY": 1,
    # Clients whose machine vanishes without a word are dropped within about a minute, ...
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    # ... also where a reply is on its way to them (tcp(7)).
    "TCP_USER_TIMEOUT": 60_000,
}


class Listener:
    """Accepts clients of ZMTP; see `Transport`.

    Args:
        host: ``"*"`` for every interface (IPv6 too where there is one), an address, the name of
            an interface or of this machine; or ``ipc://`` and a path, for a Unix socket.
        port: 0 picks a free one; not used with a Unix socket.
        limits: What clients may take.
        token: They have to show one; those that have not may take less.
        refused: Told of the address of each client whose connection is ended, and why.
        ended: Told of each connection that has ended, in any thread.

    Raises:
        AddressError: It cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits,
        token: bool,
        refused: Callable[[str, Exception], None],
        ended: Ended,
    ) -> None:
        self._told_ended = ended
        self._max_message_bytes = limits.message_bytes
        self._intake = Intake(limits.receiving_bytes, token=token)
        self._backlog = Intake(limits.receiving_bytes, token=False)
        self._costs = Costs()
        self._refused = refused
        self._socket = _listening(host, port)
        self._socket.setblocking(False)
        self.address = host if is_ipc(host) else _url(self._socket)
        self._path = host[len(addresses.IPC) :] if is_ipc(host) else None
        self._file = (0, 0) if self._path is None else listening.file_id(self._path)
        self.port = 0 if is_ipc(host) else int(self._socket.getsockname()[1])
        self._waker = Waker()
        self.wake = self._waker.wake
        self.woken_by_signals = self._waker.woken_by_signals
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._waker.out, select.POLLIN)
        self._woken = select.poll()
        self._woken.register(self._waker.out, select.POLLIN)
        self._names = itertools.count()
        self._connections = Connections(limits)

    def turn(self, timeout_s: float | None, deliver: Deliver) -> None:
        """See `Transport`."""
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
        ready = dict(self._poll.poll(timeout_ms))
        if self._waker.out.fileno() in ready:
            self._waker.rest()
        if self._socket.fileno() in ready:
            self._accept(deliver)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """See `Transport`."""
        session = self._connections.find(route[0])
        if session is not None:
            session.send(route[1:], reply)

    def close(self) -> None:
        """See `Transport`."""
        if self._path is not None:
            listening.remove(self._path, self._file)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a forked child may have it, too
        self._socket.close()
        self._end_sessions(time.monotonic() + LINGER_S, at_once=False)
        self._end_sessions(time.monotonic() + LINGER_S, at_once=True)
        self._waker.close()

    def _end_sessions(self, until_s: float, *, at_once: bool) -> None:
        sessions = self._connections.all()
        for session in sessions:
            session.end(at_once=at_once)
        for session in sessions:
            session.join(max(0.0, until_s - time.monotonic()))

    def _accept(self, deliver: Deliver) -> None:
        try:
            accepted, address = self._socket.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._refused("somebody", error)
                if not self._connections.give_one_up(f"the system has no room: {error}"):
                    self._woken.poll(EXHAUSTED_PAUSE_MS)
            return  # else it went before it was let in
        peer = "unknown address"
        try:
            peer = _peer(accepted, address)
            _prepare(accepted)
            machine = addresses.machine(peer)
            self._connections.make_room(machine)
            self._begin(accepted, peer, Sender(machine, self._costs.of(machine)), deliver)
        except Exception as error:  # of one client, which must not cost the others the server
            accepted.close()
            self._refused(peer, error)

    def _begin(self, accepted: socket.socket, peer: str, sender: Sender, deliver: Deliver) -> None:
        try:
            self._begin_session(accepted, peer, sender, deliver)
        except RuntimeError as error:  # no more threads
            if not self._connections.give_one_up(f"the system has no room: {error}"):
                raise
            self._begin_session(accepted, peer, sender, deliver)

    def _begin_session(
        self, accepted: socket.socket, peer: str, sender: Sender, deliver: Deliver
    ) -> None:
        session = Session(
            accepted,
            struct.pack(">xI", next(self._names) & 0xFFFFFFFF),
            peer,
            sender,
            max_message_bytes=self._max_message_bytes,
            intake=self._intake,
            backlog=self._backlog,
            deliver=deliver,
            ended=self._ended,
        )
        self._connections.add(session)
        try:
            session.start()
        except RuntimeError:
            self._connections.remove(session)
            raise

    def _ended(self, session: Session, problem: Exception | None) -> None:
        self._connections.remove(session)
        self._told_ended(session.sender)
        if problem is not None:
            self._refused(session.peer, problem)


def _listening(host: str, port: int) -> socket.socket:
    if is_ipc(host):
        return _listening_at(host)
    failure: Exception | None = None
    for interface, ipv6 in listening.interfaces(host):
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        every = interface == listening.ANYWHERE
        try:
            return socket.create_server(
                ("" if every else interface, port),
                family=family,
                backlog=BACKLOG,
                dualstack_ipv6=ipv6 and interface in (listening.ANYWHERE, "::"),
            )
        except (OSError, OverflowError, ValueError) as error:
            failure = error
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                break
    raise listening.refused(host, port, failure)


def _listening_at(host: str) -> socket.socket:
    listening.check_free(host)
    path = host[len(addresses.IPC) :]
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a server that was killed
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise listening.refused(host, 0, error) from None
    return listener


def _prepare(accepted: socket.socket) -> None:
    accepted.setblocking(True)
    if accepted.family == socket.AF_UNIX:
        return
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        if hasattr(socket, name):  # not every system has all
            accepted.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return addresses.url(host, port)


def _peer(accepted: socket.socket, address: object) -> str:
    """The client's address; of a Unix socket's, who it is, where the system tells."""
    if isinstance(address, tuple) and address:
        return str(address[0])
    if not hasattr(socket, "SO_PEERCRED"):
        return IPC_PEER
    credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    return f"{IPC_PEER}{uid}:{gid}:{pid}"
