# SPDX-License-Identifier: Apache-2.0
"""Ways to a server: plain text on a socket of our own, or encrypted by libzmq."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from gr00t_policy_core.errors import AddressError, ProtocolError
from gr00t_policy_core.serving.transport import addresses, zmtp
from gr00t_policy_core.serving.transport.connecting import UNREACHABLE, race, resolve
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.tcp_client import (
    BUSY,
    SILENT,
    HandshakeError,
    PlainChannel,
    mechanism_of,
)

NEVER_MS = 24 * 3600 * 1000
_NEWS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Channel(Protocol):
    """A connection to one server. Not for several threads; after an error it is to be closed."""

    def is_open(self, deadline: Deadline) -> bool:
        """Whether a request may be sent; another connection must be made where not.

        Raises:
            OSError: The connection is broken, or (`TimeoutError`) the time was up.
            ProtocolError: The server sent something that nobody asked for.
        """

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            request: Buffers of bytes, which make the message together.
            deadline: When to give up.

        Returns:
            The reply, bytes in memory of its own.

        Raises:
            TimeoutError: It did not come in time; saying what was waited for.
            EOFError: The server closed the connection.
            OSError: The connection broke.
            ProtocolError: What came is no reply, or too large.
        """

    def close(self) -> None:
        """Disconnect."""


class CurveChannel:
    """A REQ socket of libzmq, which encrypts. It is one connection: libzmq makes no second one.

    So a server that was restarted is noticed, as it is on a plain socket, and nothing that was
    meant for the one before it is sent to it.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: Of both sides.
        deadline: When to give up connecting.

    Raises:
        TimeoutError: Not within the time, saying how far it came.
        HandshakeError: The server did not let this client in.
        OSError: Nobody listens there.
        ProtocolError: What listens there speaks something else.
        AddressError: Not an address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        keys: ClientKeys,
        deadline: Deadline,
    ) -> None:
        self._limit = max_message_bytes
        url = _url(host, port, deadline)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Not -1, with which libzmq drops a reply that comes just before its server goes. Nor
        # ZMQ_IMMEDIATE, for the same reason.
        self._socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        self._socket.setsockopt(zmq.IPV6, int(url.startswith("tcp://[")))
        self._news = self._socket.get_monitor_socket(_NEWS)
        try:
            keys.protect(self._socket)
            self._socket.connect(url)
            self._await_handshake(deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, zmq.ZMQError):
                raise AddressError(f"not an address: {error}") from None
            if isinstance(error, _UnexplainedError):
                raise _explained(host, port, deadline) from None
            raise
        self._either = zmq.Poller()
        self._either.register(self._socket, zmq.POLLIN)
        self._either.register(self._news, zmq.POLLIN)

    def is_open(self, deadline: Deadline) -> bool:
        return not self._news.poll(0)

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """See `Channel`.

        Raises:
            TimeoutError: No reply in time.
            EOFError: The connection was lost.
            ProtocolError: A reply of several frames.
            zmq.ZMQError: Anything else.
        """
        if not deadline.remaining_ms:
            raise TimeoutError("no time is left to ask")
        self._socket.send(b"".join(request), zmq.NOBLOCK, copy=False)
        ready = dict(self._either.poll(deadline.remaining_ms))
        if not ready:
            raise TimeoutError(BUSY)
        # What was received before the end of the connection is there before the news of it.
        if self._socket not in ready and not self._socket.poll(0):
            raise EOFError(f"it ended, or a reply of over {self._limit} bytes was announced")
        frame = self._socket.recv(copy=False)
        if frame.more:
            raise ProtocolError("a reply of several frames")
        return frame.buffer

    def close(self) -> None:
        self._socket.disable_monitor()
        self._news.close(linger=0)
        self._socket.close(linger=0)

    def _await_handshake(self, deadline: Deadline) -> None:
        connected = False
        while self._news.poll(deadline.remaining_ms):
            news = parse_monitor_message(self._news.recv_multipart())
            event = news["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise HandshakeError(
                    "the server does not let this client in: this client's key is not among "
                    "those that it admits"
                )
            if event == zmq.EVENT_CLOSED:
                raise ConnectionRefusedError("refused")
            if event == zmq.EVENT_CONNECTED:
                connected = True
            else:
                raise _UnexplainedError
        raise TimeoutError(SILENT if connected else UNREACHABLE)


class _UnexplainedError(Exception):
    """The server ended a handshake without a word."""


def _explained(host: str, port: int, deadline: Deadline) -> Exception:
    """Why a server ended a handshake of CURVE: what it says to a client without keys."""
    try:
        if mechanism_of(host, port, deadline) == zmtp.CURVE:
            return HandshakeError(
                "the server does not let this client in: server_key is not the key of this server"
            )
        PlainChannel(host, port, max_message_bytes=0, deadline=deadline).close()
    except (OSError, ProtocolError) as error:  # TimeoutError, too
        return error
    return HandshakeError("the server is not secured, and this client has keys: it wants none")


def _url(host: str, port: int, deadline: Deadline) -> str:
    """What libzmq connects to: one address, the first that accepts where there are several."""
    if addresses.is_ipc(host):
        return addresses.url(host, port)
    found = resolve(host, port, deadline)
    if len(found) != 1:
        with race(found, deadline) as reachable:
            sockaddr = reachable.getpeername()
    else:
        sockaddr = found[0].sockaddr
    numeric, _ = socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return addresses.url(numeric, port)
