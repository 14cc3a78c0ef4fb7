# SPDX-License-Identifier: Apache-2.0
"""The client's end of ZeroMQ's protocol on a plain socket: one request, one reply.

Arrays go to the kernel from where they are, in the caller's thread (measured, bare round trips of
2 x 480 x 640: 0.47 ms; by libzmq 0.87).
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.transport import zmtp
from gr00t_policy_core.serving.transport.connecting import dial
from gr00t_policy_core.serving.transport.deadline import Deadline

_BUFFER_BYTES = 64 * 2**10
# What is handed to the kernel at once: less than it puts into one packet (64 KiB, GSO), so that
# the receiver begins while the sender goes on (measured on loopback, bare round trips of 1.8 MB:
# 0.47 ms; 32 KiB at a time 0.50, all at once 0.75, 64 KiB 1.28).
_PACKET_BYTES = 63 * 2**10


MECHANISM_MS = 300  # to tell one's mechanism in; servers of ours without keys wait for the client's
_ANSWERING = (b"ROUTER", b"REP")  # types of sockets that answer a REQ
BUSY = "it is busy, or hangs"
SECURED = "it is secured, and this client has no keys"
SILENT = (
    "it accepts the connection and then says nothing: the server hangs, or something else "
    "listens there, an HTTP server for example"
)
GONE = (
    "it accepts the connection and closes it at once: a tunnel or proxy with no server behind "
    "it, or a server that is full or ending"
)


class HandshakeError(ConnectionError):
    """What accepts connections there does not let this client in, as a whole sentence."""


class PlainChannel:
    """A connection to one server, in plain text. Not for several threads.

    After any error it is of no more use than to be closed.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A larger reply is refused.
        deadline: When to give up connecting.

    Raises:
        TimeoutError: Not within the time, saying how far it came.
        HandshakeError: The server ended the connection.
        OSError: Nobody listens there.
        ProtocolError: What listens there speaks something else.
    """

    def __init__(self, host: str, port: int, *, max_message_bytes: int, deadline: Deadline) -> None:
        self._max_message_bytes = max_message_bytes
        self._deadline = deadline  # of what is being done
        self._heard = False  # anything from it
        self._frames = zmtp.FrameReader(self._receive, _BUFFER_BYTES)
        self._socket = dial(host, port, deadline)
        self._readable = _poll(self._socket, select.POLLIN)
        self._writable = _poll(self._socket, select.POLLOUT)
        try:
            self._shake_hands()
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            self._socket.close()
            if mechanism_of(host, port, deadline) == zmtp.CURVE:
                raise HandshakeError(_refused(SECURED)) from None
            raise HandshakeError(_refused(str(error)) if self._heard else GONE) from None
        except BaseException:
            self._socket.close()
            raise

    def is_open(self, deadline: Deadline) -> bool:
        """Whether the server still listens; looks at what it sent meanwhile.

        Raises:
            TimeoutError: It began to send something, and the rest did not come in time.
            OSError: The connection is broken.
            ProtocolError: It sent something that nobody asked for.
        """
        self._deadline = deadline
        while self._frames.has_bytes or self._readable.poll(0):
            try:
                flags, size = self._frames.head()
                if not flags & zmtp.COMMAND:
                    raise ProtocolError("a reply that nobody asked for")
                self._obey(size)
            except EOFError:
                return False
        return True

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            request: The parts of the message, buffers of bytes in order; they are not copied.
            deadline: When to give up.

        Returns:
            The reply, in memory of its own; read-only.

        Raises:
            TimeoutError: It did not come in time.
            OSError: The connection broke.
            EOFError: The server closed it.
            ProtocolError: A reply that is too large, or none at all by ZMTP.
        """
        parts = [part if type(part) is bytes else _as_bytes(part) for part in request]
        head = zmtp.DELIMITER + zmtp.head(sum(map(len, parts)))
        self._deadline = deadline
        try:
            self._send([head, *parts])
            return self._reply()
        except TimeoutError:
            raise TimeoutError(BUSY) from None

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _shake_hands(self) -> None:
        try:
            self._send([zmtp.GREETING])
            mechanism = self._frames.greeting()
            if mechanism != zmtp.NULL:
                raise HandshakeError(_refused(SECURED))
            self._send([zmtp.ready(b"REQ", identity=b"")])
            flags, size = self._frames.head()
            content = self._frames.command(size) if flags & zmtp.COMMAND else b""
        except TimeoutError:
            why = "it hangs in the middle of its handshake" if self._heard else SILENT
            raise TimeoutError(why) from None
        if not content.startswith(zmtp.READY):
            reason = content[7:].decode("ascii", "replace") if content[:6] == zmtp.ERROR else ""
            raise HandshakeError(_refused(f"it refuses the connection{reason and ': '}{reason}"))
        answering = zmtp.socket_type(content)
        if answering not in _ANSWERING:  # also where the connection has met itself
            raise HandshakeError(f"the socket there is a {answering[:16]!r}, which answers nothing")

    def _reply(self) -> memoryview:
        flags, size = self._message_head()
        if size or not flags & zmtp.MORE:
            raise ProtocolError("a reply without the empty frame before it")
        flags, size = self._message_head()
        if flags & zmtp.MORE:
            raise ProtocolError("a reply of several frames")
        if size > self._max_message_bytes:
            raise ProtocolError(
                f"a reply of {size} bytes is announced, at most {self._max_message_bytes} may come"
            )
        return self._frames.take(size)

    def _message_head(self) -> tuple[int, int]:
        """The flags and size of the next frame of a message; commands before it are obeyed."""
        while True:
            flags, size = self._frames.head()
            if not flags & zmtp.COMMAND:
                return flags, size
            self._obey(size)

    def _obey(self, size: int) -> None:
        content = self._frames.command(size)
        if content.startswith(zmtp.PING):
            self._send([zmtp.pong(content)])

    def _send(self, parts: Sequence[memoryview | bytes]) -> None:
        """Send buffers of bytes, in order."""
        if not self._deadline.remaining_s:
            raise TimeoutError("timed out")
        for packet in _packets(parts):
            try:
                sent = self._socket.send(packet)
            except BlockingIOError:
                sent = 0
            if sent < len(packet):
                self._send_rest(packet[sent:])

    def _send_rest(self, rest: memoryview | bytes) -> None:
        """Send what the kernel did not take at once."""
        while rest:
            _wait(self._writable, self._deadline)
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]

    def _receive(self, room: memoryview, whole: bool) -> int:
        _wait(self._readable, self._deadline)
        received = self._socket.recv_into(room)
        if not received:
            raise EOFError("the server closed the connection")
        self._heard = True
        return received


def mechanism_of(host: str, port: int, deadline: Deadline) -> bytes | None:
    """The mechanism that a server asks for, where it says so before its client does.

    libzmq does. But it ends a connection to a client of another mechanism without a word, so that
    this has to be asked for on a connection of its own, which goes no further.

    Returns:
        The mechanism, as a greeting has it; None where it is not told.

    Raises:
        OSError: Nobody listens there.
        ProtocolError: It does not speak ZeroMQ.
    """
    with dial(host, port, deadline) as asking:
        readable = _poll(asking, select.POLLIN)
        patience = Deadline(min(MECHANISM_MS, deadline.remaining_ms))

        def receive(room: memoryview, whole: bool) -> int:
            _wait(readable, patience)
            received = asking.recv_into(room)
            if not received:
                raise EOFError
            return received

        try:
            asking.send(zmtp.GREETING[: zmtp.VERSION_ENDS])
            return zmtp.FrameReader(receive, _BUFFER_BYTES).greeting()
        except (EOFError, TimeoutError, ConnectionError):
            return None


def _refused(why: str) -> str:
    return f"the server does not let this client in: {why}"


def _as_bytes(part: Any) -> memoryview:
    """A buffer as one of bytes; a memoryview of another format or rank is none."""
    view = memoryview(part)
    # By way of numpy, which reshapes every kind of buffer, but none that is empty.
    return np.frombuffer(view, np.uint8).data if view.nbytes else memoryview(b"")


def _packets(parts: Sequence[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """Buffers of bytes in order, the small ones joined and the large ones cut."""
    joined: list[memoryview | bytes] = []
    size = 0
    for part in parts:
        if size + len(part) < _PACKET_BYTES:
            joined.append(part)
            size += len(part)
            continue
        begin = _PACKET_BYTES - size if size else 0
        if size:
            yield b"".join([*joined, part[:begin]])
        end = len(part) - (len(part) - begin) % _PACKET_BYTES
        for at in range(begin, end, _PACKET_BYTES):
            yield part[at : at + _PACKET_BYTES]
        joined = [part[end:]]
        size = len(part) - end
    if size:
        yield b"".join(joined)


def _poll(waiting: socket.socket, events: int) -> select.poll:
    poll = select.poll()
    poll.register(waiting, events)
    return poll


def _wait(poll: select.poll, deadline: Deadline) -> None:
    """Wait until a socket can do what it is polled for, or TimeoutError."""
    left_ms = deadline.remaining_ms
    if not left_ms or not poll.poll(left_ms):
        raise TimeoutError("timed out")
