# SPDX-License-Identifier: Apache-2.0
"""The client's end of ZeroMQ's protocol on a plain socket: one request, one reply.

Arrays go to the kernel from where they are, in the caller's thread (measured, bare round trips of
2 x 480 x 640: 0.47 ms; by libzmq 0.87).
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving import addresses, zmtp
from gr00t_policy_core.serving.deadline import Deadline

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
        self._deadline = deadline  # of what is being done
        self._frames = zmtp.FrameReader(self._receive, _BUFFER_BYTES)
        self._socket = _connected(host, port, deadline)
        self._readable = _poll(self._socket, select.POLLIN)
        self._writable = _poll(self._socket, select.POLLOUT)
        try:
            self._shake_hands()
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
            raise TimeoutError("it is busy, or hangs") from None

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _shake_hands(self) -> None:
        self._send([zmtp.GREETING])
        if self._frames.greeting() != zmtp.NULL:
            raise HandshakeError("it is secured, and this client has no keys")
        self._send([zmtp.ready(b"REQ", identity=b"")])
        flags, size = self._frames.head()
        content = self._frames.command(size) if flags & zmtp.COMMAND else b""
        if not content.startswith(zmtp.READY):
            reason = content[7:].decode("ascii", "replace") if content[:6] == zmtp.ERROR else ""
            raise HandshakeError(f"it refuses the connection{reason and ': '}{reason}")

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
        return received


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
    family = socket.AF_UNSPEC
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
    # IPv4 first: servers of Isaac-GR00T listen there.
    return sorted(answer, key=lambda found: bool(found[0] != socket.AF_INET))
