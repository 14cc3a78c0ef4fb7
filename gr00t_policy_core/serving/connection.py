# SPDX-License-Identifier: Apache-2.0
"""The client's socket: one request, one reply, within a time, whatever becomes of the server."""

from __future__ import annotations

import os
import threading
import time

import zmq

from gr00t_policy_core.errors import (
    AddressError,
    ClosedError,
    PolicyError,
    PolicyTimeoutError,
    ProtocolError,
)
from gr00t_policy_core.serving import addresses
from gr00t_policy_core.serving.curve import ClientKeys


class Deadline:
    """A point in time, `timeout_ms` from now."""

    __slots__ = ("_ends_at", "timeout_ms")

    def __init__(self, timeout_ms: float) -> None:
        self.timeout_ms = timeout_ms
        self._ends_at = time.monotonic() + timeout_ms / 1000

    @property
    def remaining_ms(self) -> int:
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


class Connection:
    """Requests to one server, one at a time; threads take turns.

    The socket is made at the first request, and dropped whenever a reply did not come, so that a
    late one is never taken for the answer to another request.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: Encrypt, for the server that they name; None: plain text.
    """

    def __init__(
        self, host: str, port: int, *, max_message_bytes: int, keys: ClientKeys | None = None
    ) -> None:
        self.server = addresses.name(host, port)
        self._given = (host, port, max_message_bytes, keys)
        self._ipv6 = ":" in host and not addresses.is_ipc(host)
        self._address = addresses.url(host, port)
        self._max_message_bytes = max_message_bytes
        self._keys = keys
        self._closed = False
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._socket: zmq.Socket[bytes] | None = None

    def exchange(self, endpoint: str, request: bytes, deadline: Deadline) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            endpoint: For the errors.
            request: The encoded request.
            deadline: When to give up, waiting for other threads' requests included.

        Returns:
            The reply, in memory of its own.

        Raises:
            PolicyTimeoutError: No reply in time.
            ProtocolError: The reply is of several frames.
            AddressError: Not an address.
            ClosedError: After `close`.
        """
        self._check_open(endpoint)
        if self._pid != os.getpid():
            self._forget()  # a forked child inherits neither sockets nor locks that work
        if not self._turn.acquire(timeout=deadline.remaining_ms / 1000):
            raise self._timeout(endpoint, deadline, "another thread's request is in progress")
        try:
            self._check_open(endpoint)
            reply = self._ask(endpoint, request, deadline)
        except zmq.ZMQError as error:
            self._drop()
            raise PolicyError(f"{self.server} {endpoint}: {error}") from error
        except BaseException:
            self._drop()
            raise
        finally:
            self._turn.release()
            if self._closed:
                self.close()  # it came in the meantime, and left the socket to this thread
        return reply

    def another(self) -> Connection:
        """A connection of its own to the same server."""
        host, port, max_message_bytes, keys = self._given
        return Connection(host, port, max_message_bytes=max_message_bytes, keys=keys)

    def close(self) -> None:
        """Close the socket; a request in progress in another thread ends as it would have."""
        self._closed = True
        if self._pid == os.getpid() and self._turn.acquire(blocking=False):
            self._drop()
            self._turn.release()

    def _ask(self, endpoint: str, request: bytes, deadline: Deadline) -> memoryview:
        if self._socket is None:
            self._socket = self._connect(endpoint)
        # A refused handshake leaves the socket without a way out until it connects again.
        if not self._socket.poll(deadline.remaining_ms, zmq.POLLOUT):
            raise self._timeout(endpoint, deadline, "the server does not let this client in")
        self._socket.send(request, zmq.NOBLOCK, copy=False)
        if not self._socket.poll(deadline.remaining_ms):
            raise self._timeout(endpoint, deadline, "no server listens there, or it is busy")
        frame = self._socket.recv(copy=False)
        if frame.more:
            raise ProtocolError(f"{self.server} {endpoint}: a reply of several frames")
        return frame.buffer

    def _connect(self, endpoint: str) -> zmq.Socket[bytes]:
        # Without ZMQ_IMMEDIATE: it drops a reply that comes just before its server goes.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        connecting = context.socket(zmq.REQ)
        connecting.setsockopt(zmq.LINGER, 0)
        connecting.setsockopt(zmq.RECONNECT_IVL, 50)
        connecting.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        connecting.setsockopt(zmq.TCP_KEEPALIVE, 1)
        connecting.setsockopt(zmq.MAXMSGSIZE, self._max_message_bytes)
        connecting.setsockopt(zmq.IPV6, int(self._ipv6))
        if self._keys is not None:
            self._keys.protect(connecting)
        try:
            connecting.connect(self._address)
        except zmq.ZMQError as error:
            connecting.close()
            raise AddressError(f"{self.server} {endpoint}: not an address: {error}") from None
        return connecting

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _forget(self) -> None:
        self._socket = None
        self._turn = threading.Lock()
        self._pid = os.getpid()

    def _check_open(self, endpoint: str) -> None:
        if self._closed:
            raise ClosedError(f"{self.server} {endpoint}: the client was closed")

    def _timeout(self, endpoint: str, deadline: Deadline, why: str) -> PolicyTimeoutError:
        return PolicyTimeoutError(
            f"{self.server} {endpoint}: no answer within {deadline.timeout_ms} ms ({why})"
        )
