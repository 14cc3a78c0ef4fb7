# SPDX-License-Identifier: Apache-2.0
"""The client's end of ZeroMQ's protocol on a plain socket: one request, one reply.

ZMTP 3.1 (ZeroMQ's RFC 37), a REQ of mechanism NULL. libzmq wants a message in one piece of memory
and hands it to a thread of its own; here arrays go to the kernel from where they are, in the
caller's thread (measured, bare round trips of 2 x 480 x 640: 0.47 ms; by libzmq 0.87). What is
encrypted goes by libzmq (`gr00t_policy_core.serving.channels`).
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving import addresses
from gr00t_policy_core.serving.deadline import Deadline

_MORE, _LONG, _COMMAND = 1, 2, 4  # flags of a frame
_MECHANISM: Final = b"NULL".ljust(20, b"\0")
_GREETING: Final = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + _MECHANISM + bytes(32)
_READY: Final = b"\x05READY" + b"\x0bSocket-Type" + b"\0\0\0\x03REQ" + b"\x08Identity" + bytes(4)
_DELIMITER: Final = b"\x01\x00"  # the empty frame before a request
_PONG: Final = b"\x04PONG"
_PING: Final = b"\x04PING"
_PING_TTL_BYTES = 2
_MAX_COMMAND_BYTES = 64 * 2**10
_BUFFER_BYTES = 64 * 2**10
# What is handed to the kernel at once: less than it puts into one packet (64 KiB, GSO), so that
# the receiver begins while the sender goes on (measured on loopback, bare round trips of 1.8 MB:
# 0.47 ms; 32 KiB at a time 0.50, all at once 0.75, 64 KiB 1.28).
_PACKET_BYTES = 63 * 2**10


class HandshakeError(ConnectionError):
    """The server does not let this client in."""


class PlainChannel:
    """A connection to one server, in plain text. Not for several threads.

    After any error it is of no more use than to be closed.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: Its port; not used with a Unix socket.
        max_message_bytes: A larger reply is refused.
        deadline: When to give up connecting.

    Raises:
        TimeoutError: Not within the time.
        HandshakeError: The server ended the connection.
        OSError: Nobody listens there.
        ProtocolError: What listens there speaks something else.
    """

    def __init__(self, host: str, port: int, *, max_message_bytes: int, deadline: Deadline) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0  # of what was received and not read yet
        self._socket = _connected(host, port, deadline)
        self._readable = _poll(self._socket, select.POLLIN)
        self._writable = _poll(self._socket, select.POLLOUT)
        try:
            self._shake_hands(deadline)
        except (EOFError, ConnectionError) as error:
            self._socket.close()
            raise HandshakeError(f"the server does not let this client in: {error}") from None
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
        while self._begin < self._end or self._readable.poll(0):
            try:
                flags, size = self._head(deadline)
                if not flags & _COMMAND:
                    raise ProtocolError("a reply that nobody asked for")
                self._obey(size, deadline)
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
        views = [memoryview(part) for part in request]
        # By way of numpy, since a memoryview of another format or rank is no bytes.
        parts = [np.frombuffer(view, np.uint8).data for view in views if view.nbytes]
        size = sum(map(len, parts))
        if size < 2**8:
            head = _DELIMITER + bytes([0, size])
        else:
            head = _DELIMITER + bytes([_LONG]) + size.to_bytes(8, "big")
        try:
            self._send([head, *parts], deadline)
            return self._reply(deadline)
        except TimeoutError:
            raise TimeoutError("it is busy, or hangs") from None

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _shake_hands(self, deadline: Deadline) -> None:
        self._send([_GREETING], deadline)
        self._fill(1, deadline)
        if self._buffer[0] != _GREETING[0]:
            raise ProtocolError("what listens there is no ZeroMQ server")
        self._fill(11, deadline)
        if not self._buffer[9] & 1 or self._buffer[10] < 3:
            raise ProtocolError("what listens there speaks a ZeroMQ protocol before 3.0")
        greeting = self._take(len(_GREETING), deadline)
        if greeting[12:32] != _MECHANISM:
            raise HandshakeError("it is secured, and this client has no keys")
        self._send([bytes([_COMMAND, len(_READY)]) + _READY], deadline)
        flags, size = self._head(deadline)
        command = self._command(size, deadline) if flags & _COMMAND else b""
        if not command.startswith(b"\x05READY"):
            reason = command[7:].decode("ascii", "replace") if command[:6] == b"\x05ERROR" else ""
            raise HandshakeError(f"it refuses the connection{reason and ': '}{reason}")

    def _reply(self, deadline: Deadline) -> memoryview:
        flags, size = self._message_head(deadline)
        if size or not flags & _MORE:
            raise ProtocolError("a reply without the empty frame before it")
        flags, size = self._message_head(deadline)
        if flags & _MORE:
            raise ProtocolError("a reply of several frames")
        if size > self._max_message_bytes:
            raise ProtocolError(
                f"a reply of {size} bytes is announced, at most {self._max_message_bytes} may come"
            )
        return memoryview(self._take(size, deadline)).toreadonly()

    def _message_head(self, deadline: Deadline) -> tuple[int, int]:
        """The flags and size of the next frame of a message; commands before it are obeyed."""
        while True:
            flags, size = self._head(deadline)
            if not flags & _COMMAND:
                return flags, size
            self._obey(size, deadline)

    def _head(self, deadline: Deadline) -> tuple[int, int]:
        self._fill(2, deadline)
        flags = self._buffer[self._begin]
        if flags > (_MORE | _LONG | _COMMAND):
            raise ProtocolError("what came is no frame of ZMTP")
        length = 9 if flags & _LONG else 2
        self._fill(length, deadline)
        start = self._begin + 1
        self._begin += length
        return flags, int.from_bytes(self._buffer[start : self._begin], "big")

    def _obey(self, size: int, deadline: Deadline) -> None:
        command = self._command(size, deadline)
        if command.startswith(_PING):
            pong = _PONG + command[len(_PING) + _PING_TTL_BYTES :][:16]
            self._send([bytes([_COMMAND, len(pong)]) + pong], deadline)

    def _command(self, size: int, deadline: Deadline) -> bytes:
        if size > _MAX_COMMAND_BYTES:
            raise ProtocolError(f"a command of {size} bytes")
        return bytes(self._take(size, deadline))

    def _send(self, parts: Sequence[memoryview | bytes], deadline: Deadline) -> None:
        """Send buffers of bytes, in order."""
        for packet in _packets(parts):
            rest = packet
            while rest:
                if not deadline.remaining_s:
                    raise TimeoutError("timed out")
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    _wait(self._writable, deadline)

    def _take(self, size: int, deadline: Deadline) -> bytes | memoryview:
        """The next bytes, in memory of their own."""
        if size <= len(self._buffer):
            self._fill(size, deadline)
            begin = self._begin
            self._begin += size
            return bytes(memoryview(self._buffer)[begin : self._begin])
        try:
            # Not a bytearray, whose memory would be touched before the bytes have come.
            taken = np.empty(size, np.uint8).data
        except (MemoryError, ValueError):
            raise ProtocolError(f"a reply of {size} bytes, for which there is no memory") from None
        there = self._end - self._begin
        taken[:there] = memoryview(self._buffer)[self._begin : self._end]
        self._begin = self._end = 0
        while there < size:
            there += self._receive(taken[there:], deadline)
        return taken

    def _fill(self, size: int, deadline: Deadline) -> None:
        """Have at least so many bytes in the buffer."""
        if self._begin == self._end:
            self._begin = self._end = 0
        if self._begin + size > len(self._buffer):
            rest = self._buffer[self._begin : self._end]
            self._buffer[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        while self._end - self._begin < size:
            self._end += self._receive(memoryview(self._buffer)[self._end :], deadline)

    def _receive(self, room: memoryview, deadline: Deadline) -> int:
        _wait(self._readable, deadline)
        received = self._socket.recv_into(room)
        if not received:
            raise EOFError("the server closed the connection")
        return received


def _packets(parts: Sequence[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """Buffers of bytes in order, the small ones joined and the large ones cut."""
    joined: list[memoryview | bytes] = []
    size = 0
    for part in parts:
        at = 0
        while at < len(part):
            room = _PACKET_BYTES - size
            piece = part[at : at + room]
            at += len(piece)
            if len(piece) == room and not joined:
                yield piece
                continue
            joined.append(piece)
            size += len(piece)
            if size == _PACKET_BYTES:
                yield b"".join(joined)
                joined, size = [], 0
    if joined:
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


def _connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connected socket, or OSError."""
    if addresses.is_ipc(host):
        return _connect(socket.AF_UNIX, host[len(addresses.IPC) :], deadline)
    failure: OSError = ConnectionRefusedError("it has no address")
    for family, _, _, _, address in _resolved(host, port, deadline):
        try:
            connected = _connect(family, address, deadline)
        except OSError as error:
            failure = error
            continue
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connected
    raise failure


def _connect(family: int, address: Any, deadline: Deadline) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(max(deadline.remaining_s, 0.001))
        connecting.connect(address)
        connecting.setblocking(False)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _resolved(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The addresses of a host, or OSError; a resolver that hangs is left behind in time."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bare = host.strip("[]")
    with contextlib.suppress(OSError, UnicodeError):
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(bare, port, family, socket.SOCK_STREAM, 0, numeric)
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found.put(socket.getaddrinfo(bare, port, family, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=resolve, name="gr00t-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.remaining_s)
    except queue.Empty:
        raise TimeoutError(f"the address of {host} is not found in time") from None
    if isinstance(answer, BaseException):
        raise OSError(f"no host {host} is known: {answer}") from answer
    return list(answer)
