# SPDX-License-Identifier: Apache-2.0
"""Ways to a server: plain text on a socket of our own, or encrypted by libzmq."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import zmq

from gr00t_policy_core.errors import AddressError, ProtocolError
from gr00t_policy_core.serving import addresses
from gr00t_policy_core.serving.curve import ClientKeys
from gr00t_policy_core.serving.deadline import Deadline


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
    """A REQ socket of libzmq, which encrypts, and connects again whenever it must.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: Of both sides.

    Raises:
        AddressError: Not an address.
    """

    def __init__(self, host: str, port: int, *, max_message_bytes: int, keys: ClientKeys) -> None:
        # Without ZMQ_IMMEDIATE: it drops a reply that comes just before its server goes.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        self._socket.setsockopt(zmq.IPV6, int(":" in host and not addresses.is_ipc(host)))
        try:
            keys.protect(self._socket)
            self._socket.connect(addresses.url(host, port))
        except BaseException as error:
            self._socket.close()
            if isinstance(error, zmq.ZMQError):
                raise AddressError(f"not an address: {error}") from None
            raise

    def is_open(self, deadline: Deadline) -> bool:
        return True

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """See `Channel`.

        Raises:
            TimeoutError: Saying what it waited for in vain.
            ProtocolError: A reply of several frames.
            zmq.ZMQError: Anything else.
        """
        # A refused handshake leaves the socket without a way out until it connects again.
        if not self._socket.poll(deadline.remaining_ms, zmq.POLLOUT):
            raise TimeoutError("the server does not let this client in")
        self._socket.send(b"".join(request), zmq.NOBLOCK, copy=False)
        if not self._socket.poll(deadline.remaining_ms):
            raise TimeoutError("no server listens there, or it is busy")
        frame = self._socket.recv(copy=False)
        if frame.more:
            raise ProtocolError("a reply of several frames")
        return frame.buffer

    def close(self) -> None:
        self._socket.close(linger=0)
