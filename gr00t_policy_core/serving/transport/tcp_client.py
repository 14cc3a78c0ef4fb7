# SPDX-License-Identifier: Apache-2.0
"""A client's channel in plain text: one request, one reply, over TCP or a Unix socket.

The kernel reads the memory of arrays directly, in the caller's thread (measured, bare round trips
of 2 x 480 x 640: 0.47 ms; with libzmq 0.87).
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
from gr00t_policy_core.serving.transport.base import SERVER_BUSY, SERVER_SILENT, HandshakeError
from gr00t_policy_core.serving.transport.connecting import connect_socket
from gr00t_policy_core.serving.transport.deadline import Deadline

_BUFFER_BYTES = 64 * 2**10
# How much to pass to the kernel in one call: less than it puts into one packet (64 KiB, GSO), so
# that the receiver starts while the sender goes on (measured on loopback, bare round trips of
# 1.8 MB: 0.47 ms; with 32 KiB 0.50, with all at once 0.75, with 64 KiB 1.28).
_PACKET_BYTES = 63 * 2**10

# How long a server has to name its mechanism; ours without keys waits for the client's first.
MECHANISM_MS = 300
_SERVER_SOCKET_TYPES = (b"ROUTER", b"REP")
_SECURED = "it is secured, and this client has no keys"
_CLOSED_AT_ONCE = (
    "it accepts the connection and closes it at once: a tunnel or proxy with no server behind "
    "it, or a server that is full or stopping"
)


class TcpChannel:
    """A connection to one server, in plain text; see `Channel`.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: TCP port of the server; not used with a Unix socket.
        max_message_bytes: A larger reply is refused.
        deadline: When to give up connecting.

    Raises:
        TimeoutError: The deadline passed; the text says how far the handshake came.
        HandshakeError: The server rejected this client.
        OSError: Nothing listens there.
        ProtocolError: The program that listens there does not speak ZeroMQ.
    """

    def __init__(self, host: str, port: int, *, max_message_bytes: int, deadline: Deadline) -> None:
        self._max_message_bytes = max_message_bytes
        self._deadline = deadline  # of the operation in progress
        self._has_received = False
        self._frames = zmtp.FrameReader(self._receive, _BUFFER_BYTES)
        self._socket = connect_socket(host, port, deadline)
        self._readable = _make_poll(self._socket, select.POLLIN)
        self._writable = _make_poll(self._socket, select.POLLOUT)
        try:
            self._shake_hands()
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            self._socket.close()
            if ask_for_mechanism(host, port, deadline) == zmtp.CURVE:
                raise HandshakeError(_rejected(_SECURED)) from None
            why = _rejected(str(error)) if self._has_received else _CLOSED_AT_ONCE
            raise HandshakeError(why) from None
        except BaseException:
            self._socket.close()
            raise

    def is_open(self, deadline: Deadline) -> bool:
        """See `Channel`. Reads what the server has sent since the last reply."""
        self._deadline = deadline
        while self._frames.has_bytes or self._readable.poll(0):
            try:
                flags, size = self._frames.frame_header()
                if not flags & zmtp.COMMAND:
                    raise ProtocolError("an unsolicited reply")
                self._handle_command(size)
            except EOFError:
                return False
        return True

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """See `Channel`. The buffers of the request are not copied."""
        parts = [part if type(part) is bytes else _as_bytes(part) for part in request]
        header = zmtp.DELIMITER + zmtp.frame_header(sum(map(len, parts)))
        self._deadline = deadline
        try:
            self._send([header, *parts])
            return self._receive_reply()
        except TimeoutError:
            raise TimeoutError(SERVER_BUSY) from None

    def close(self) -> None:
        """See `Channel`."""
        self._socket.close()

    def _shake_hands(self) -> None:
        try:
            self._send([zmtp.GREETING])
            mechanism = self._frames.greeting()
            if mechanism != zmtp.NULL:
                raise HandshakeError(_rejected(_SECURED))
            self._send([zmtp.ready(b"REQ", identity=b"")])
            flags, size = self._frames.frame_header()
            content = self._frames.command(size) if flags & zmtp.COMMAND else b""
        except TimeoutError:
            why = "it hangs in the middle of its handshake" if self._has_received else SERVER_SILENT
            raise TimeoutError(why) from None
        if not content.startswith(zmtp.READY):
            reason = content[7:].decode("ascii", "replace") if content[:6] == zmtp.ERROR else ""
            raise HandshakeError(_rejected(f"it refuses the connection{reason and ': '}{reason}"))
        socket_type = zmtp.socket_type(content)
        if socket_type not in _SERVER_SOCKET_TYPES:  # also where a connection has met itself
            raise HandshakeError(
                f"the socket there is a {socket_type[:16]!r}, which answers no requests"
            )

    def _receive_reply(self) -> memoryview:
        flags, size = self._message_frame_header()
        if size or not flags & zmtp.MORE:
            raise ProtocolError("a reply without the empty frame before it")
        flags, size = self._message_frame_header()
        if flags & zmtp.MORE:
            raise ProtocolError("a reply of several frames")
        if size > self._max_message_bytes:
            raise ProtocolError(
                f"a reply of {size} bytes is announced, the limit is {self._max_message_bytes}"
            )
        return self._frames.take(size)

    def _message_frame_header(self) -> tuple[int, int]:
        """The flags and size of the next frame of a message; handles commands before it."""
        while True:
            flags, size = self._frames.frame_header()
            if not flags & zmtp.COMMAND:
                return flags, size
            self._handle_command(size)

    def _handle_command(self, size: int) -> None:
        content = self._frames.command(size)
        if content.startswith(zmtp.PING):
            self._send([zmtp.pong(content)])

    def _send(self, parts: Sequence[memoryview | bytes]) -> None:
        """Send buffers, in order."""
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

    def _receive(self, buffer: memoryview, wait_for_all: bool) -> int:
        _wait(self._readable, self._deadline)
        received = self._socket.recv_into(buffer)
        if not received:
            raise EOFError("the server closed the connection")
        self._has_received = True
        return received


def ask_for_mechanism(host: str, port: int, deadline: Deadline) -> bytes | None:
    """The security mechanism of a server that names it before its client does.

    libzmq does. But it closes a connection to a client of another mechanism without a reason, so
    the question needs a connection of its own, which goes no further.

    Returns:
        The mechanism as a greeting has it; None where the server does not name it.

    Raises:
        OSError: Nothing listens there.
        ProtocolError: The server does not speak ZeroMQ.
    """
    with connect_socket(host, port, deadline) as probe:
        readable = _make_poll(probe, select.POLLIN)
        probe_deadline = Deadline(min(MECHANISM_MS, deadline.remaining_ms))

        def receive(buffer: memoryview, wait_for_all: bool) -> int:
            _wait(readable, probe_deadline)
            received = probe.recv_into(buffer)
            if not received:
                raise EOFError
            return received

        try:
            probe.send(zmtp.GREETING[: zmtp.VERSION_ENDS])
            return zmtp.FrameReader(receive, _BUFFER_BYTES).greeting()
        except (EOFError, TimeoutError, ConnectionError):
            return None


def _rejected(why: str) -> str:
    return f"the server rejected this client: {why}"


def _as_bytes(part: Any) -> memoryview:
    """A buffer as one-dimensional bytes."""
    view = memoryview(part)
    # Through numpy, which can reshape every buffer that is not empty; a memoryview cannot.
    return np.frombuffer(view, np.uint8).data if view.nbytes else memoryview(b"")


def _packets(parts: Sequence[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """The buffers in order; small ones are joined and large ones cut."""
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


def _make_poll(connected: socket.socket, events: int) -> select.poll:
    poll = select.poll()
    poll.register(connected, events)
    return poll


def _wait(poll: select.poll, deadline: Deadline) -> None:
    """Wait until a socket is ready, or raise `TimeoutError`."""
    left_ms = deadline.remaining_ms
    if not left_ms or not poll.poll(left_ms):
        raise TimeoutError("timed out")
