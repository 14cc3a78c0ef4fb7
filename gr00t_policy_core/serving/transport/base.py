# SPDX-License-Identifier: Apache-2.0
"""The interfaces of both ends of a connection, in plain text and encrypted.

A server listens on a `Transport`, a client sends requests through a `Channel`. Each has two
implementations: sockets of our own that speak ZMTP in plain text (`tcp_server`, `tcp_client`), and
libzmq with CURVE encryption (`curve_server`, `curve_client`).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.rate_limit import ConnectionRateLimiter, RateLimiter

logger = logging.getLogger(__name__)

MAX_FRAMES = 16  # kept of each message
MAX_IDENTITY_BYTES = 255  # of a ZeroMQ socket
LINGER_S = 1.0  # for replies in flight when a server closes

SERVER_BUSY = "it is busy, or hangs"
SERVER_SILENT = (
    "it accepts the connection and then says nothing: the server hangs, or something else "
    "listens there, an HTTP server for example"
)


class HandshakeError(ConnectionError):
    """The server rejected the connection; the text is a whole sentence."""


class Channel(Protocol):
    """A client's connection to one server. For one thread; after an error it can only be closed."""

    def is_open(self, deadline: Deadline) -> bool:
        """Whether a request can be sent; if not, the client must connect again.

        Raises:
            OSError: The connection is broken, or (`TimeoutError`) the deadline passed.
            ProtocolError: The server sent something unsolicited.
        """

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            request: Buffers of bytes that together are the message.
            deadline: When the call raises `PolicyTimeoutError`.

        Returns:
            The reply, read-only, in memory that nothing else writes to.

        Raises:
            TimeoutError: The deadline passed; the text says what the client waited for.
            EOFError: The server closed the connection.
            OSError: The connection broke.
            ProtocolError: The bytes received are not a reply, or the reply is too large.
        """

    def close(self) -> None:
        """Disconnect."""


@dataclass(slots=True, eq=False)
class Sender:
    """The state of a connection that messages arrive on.

    Args:
        address: The machine at the other end (`addresses.machine`); all connections of one machine
            share some of the limits.
        rate_limiter: Charged for messages that are expensive to read.
        authenticated: A request with the right token has arrived (any request, where the server
            has no token).
        disconnected: The connection has ended, so no client waits for replies.
    """

    address: str = ""
    rate_limiter: ConnectionRateLimiter = field(
        default_factory=lambda: RateLimiter().for_connection("")
    )
    authenticated: bool = False
    disconnected: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a client.

    Args:
        route: The frames that route a reply back to the client; the first names the connection.
        body: The request; None if `problem` says what is wrong.
        problem: Why there is no body.
        peer: Network address of the client.
        sender: The connection that the message arrived on.
    """

    route: list[bytes]
    body: memoryview | None
    problem: str
    peer: str
    sender: Sender = field(default_factory=Sender)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return 0 if self.body is None else self.body.nbytes


OnMessage: TypeAlias = Callable[[Message], None]
OnDisconnect: TypeAlias = Callable[[Sender], None]
OnReject: TypeAlias = Callable[[str, Exception], None]  # the peer's address, and why


class Transport(Protocol):
    """A server's listening socket, for REQ and DEALER clients with any envelope."""

    address: str
    port: int

    def run_once(self, timeout_s: float | None, on_message: OnMessage) -> None:
        """Wait for something to do or for `wake`, and do it. For one thread.

        Args:
            timeout_s: How long to wait; None waits without a limit.
            on_message: Called with each message, here or in the thread of its connection; must
                neither raise nor block.
        """

    def wake(self) -> None:
        """Make `run_once` return; safe in any thread and in a signal handler."""

    def wake_on_signals(self) -> contextlib.AbstractContextManager[None]:
        """Within this context a signal ends `run_once`, so that its Python handler runs."""

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """Send a reply, from any thread; dropped where the client has left or does not read."""

    def close(self) -> None:
        """Send what is in flight, for at most `LINGER_S`, and close everything."""


class Waker:
    """Wakes a thread that polls `readable`."""

    def __init__(self) -> None:
        self._writable, self.readable = socket.socketpair()
        self._writable.setblocking(False)
        self.readable.setblocking(False)

    def wake(self) -> None:
        """Make `readable` readable; safe in any thread and in a signal handler."""
        try:
            self._writable.send(b"\0")
        except BlockingIOError:
            return  # the buffer is full of wakes, so the thread wakes anyway
        except OSError:
            logger.debug("wake() was called after close()")

    def drain(self) -> None:
        """Make `readable` unreadable again."""
        with contextlib.suppress(BlockingIOError):
            self.readable.recv(4096)

    @contextlib.contextmanager
    def wake_on_signals(self) -> Iterator[None]:
        """Within this context a signal wakes the thread; only the main thread can enter it.

        Otherwise a signal that the kernel delivers to another thread, or just before the wait
        begins, is not handled before the next message. In other threads this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self._writable.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    def close(self) -> None:
        """Close both ends."""
        self._writable.close()
        self.readable.close()


def make_message(
    connection: bytes,
    frames: Sequence[memoryview],
    size: int,
    peer: str,
    *,
    max_bytes: int,
    sender: Sender,
) -> Message | None:
    """Build a message from its frames; None if no reply could be routed back.

    Args:
        connection: The name of the connection at the server.
        frames: The first `MAX_FRAMES` frames, as received.
        size: Bytes of all frames, including those that were not kept.
        peer: Network address of the client.
        max_bytes: A larger message becomes a message with a problem.
        sender: The connection that the message came from.
    """
    body_at = 0
    for index, frame in enumerate(frames):
        if not frame.nbytes:
            body_at = index + 1
            break
    route = [connection]
    for frame in frames[:body_at]:
        if frame.nbytes > MAX_IDENTITY_BYTES:
            # Each waiting reply would hold a copy, however many wait for a client that never reads.
            logger.debug("%s sent routing frames that are too long; it gets no reply", peer)
            return None
        route.append(bytes(frame))
    body = frames[body_at:]
    if size > max_bytes:
        problem = f"malformed message: {size} bytes received, the limit is {max_bytes}"
    elif len(body) == 1:
        return Message(route, body[0], "", peer, sender)
    elif not body:
        problem = "malformed message: it is empty"
    else:
        or_more = " or more" * (len(frames) >= MAX_FRAMES)
        problem = f"malformed message: expected one frame, got {len(body)}{or_more}"
    return Message(route, None, problem, peer, sender)
