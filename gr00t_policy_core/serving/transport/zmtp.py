# SPDX-License-Identifier: Apache-2.0
"""ZeroMQ's protocol as both our ends speak it on plain sockets: ZMTP 3.1, mechanism NULL.

ZeroMQ's RFC 37. Frames are read here; the client's end is
`gr00t_policy_core.serving.transport.tcp_client`, the server's
`gr00t_policy_core.serving.transport.tcp_session`. libzmq
wants a message in one piece of memory and hands it from and to a thread of its own; on a plain
socket the memory of arrays is read and filled by the kernel, in the thread that needs it. What is
encrypted goes by libzmq.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from gr00t_policy_core.errors import ProtocolError

MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame
NULL: Final = b"NULL".ljust(20, b"\0")
CURVE: Final = b"CURVE".ljust(20, b"\0")
GREETING: Final = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + NULL + bytes(32)
VERSION_ENDS: Final = 12  # in the greeting; the mechanism follows
DELIMITER: Final = b"\x01\x00"  # the empty frame before a request or reply
READY: Final = b"\x05READY"
ERROR: Final = b"\x05ERROR"
PING: Final = b"\x04PING"
PONG: Final = b"\x04PONG"

_MAX_COMMAND_BYTES = 64 * 2**10
_SHOWN_BYTES = 24  # of what is something else
_PING_TTL_BYTES = 2
_PING_CONTEXT_BYTES = 16
_SHORT_HEAD_BYTES, _LONG_HEAD_BYTES = 2, 9
_SIZE = struct.Struct(">Q")

Receive: TypeAlias = Callable[[memoryview, bool], int]


def head(size: int, flags: int = 0) -> bytes:
    """What comes before `size` bytes of a frame."""
    if size < 2**8:
        return bytes([flags, size])
    return bytes([flags | LONG]) + size.to_bytes(8, "big")


def command(content: bytes) -> bytes:
    """A whole frame of a command."""
    return head(len(content), COMMAND) + content


def ready(socket_type: bytes, identity: bytes | None = None) -> bytes:
    """The frame that ends a handshake.

    Args:
        socket_type: Of the socket that this end plays.
        identity: Its name, which some types have.
    """
    properties = _property(b"Socket-Type", socket_type)
    if identity is not None:
        properties += _property(b"Identity", identity)
    return command(READY + properties)


def pong(ping: bytes) -> bytes:
    """The frame that answers a PING, given as its content."""
    return command(PONG + ping[len(PING) + _PING_TTL_BYTES :][:_PING_CONTEXT_BYTES])


def socket_type(ready_content: bytes) -> bytes:
    """The type of socket that a READY names, given as its content; empty where it names none.

    Raises:
        ProtocolError: Malformed.
    """
    at = len(READY)
    while at < len(ready_content):
        name_end = at + 1 + ready_content[at]
        size = int.from_bytes(ready_content[name_end : name_end + 4], "big")
        value = ready_content[name_end + 4 : name_end + 4 + size]
        if name_end + 4 + size > len(ready_content):
            raise ProtocolError("a malformed READY")
        if ready_content[at + 1 : name_end].lower() == b"socket-type":
            return value
        at = name_end + 4 + size
    return b""


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


class FrameReader:
    """Reads frames from a stream of bytes. Not for several threads.

    Args:
        receive: Waits for bytes, puts them into memory and returns how many; where its second
            argument is true, it may wait for as many as fit. What it raises passes through.
        buffer_bytes: Of what is read ahead: what is longer goes where it belongs at once.
    """

    def __init__(self, receive: Receive, buffer_bytes: int) -> None:
        self._receive = receive
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0  # of what was received and not read yet

    @property
    def has_bytes(self) -> bool:
        """Whether something was received and not read yet."""
        return self._begin < self._end

    def greeting(self) -> bytes:
        """Read the other end's greeting; returns its mechanism, filled up to 20 bytes.

        Raises:
            ProtocolError: It is none of ZMTP 3.
        """
        self._fill(1)
        if self._buffer[self._begin] != GREETING[0]:
            begin = bytes(self._view[self._begin : self._end])[:_SHOWN_BYTES]
            raise ProtocolError(f"the other end does not speak ZeroMQ, it begins with {begin!r}")
        self._fill(11)
        if not self._buffer[self._begin + 9] & 1 or self._buffer[self._begin + 10] < 3:
            raise ProtocolError("the other end speaks a ZeroMQ protocol before 3.0")
        return bytes(self.take(len(GREETING)))[VERSION_ENDS : VERSION_ENDS + len(NULL)]

    def head(self) -> tuple[int, int]:
        """The flags of the next frame, and how many bytes follow.

        Raises:
            ProtocolError: It is no frame.
        """
        if self._end - self._begin < _SHORT_HEAD_BYTES:
            self._fill(_SHORT_HEAD_BYTES)
        begin = self._begin
        flags = self._buffer[begin]
        if flags > (MORE | LONG | COMMAND):
            raise ProtocolError("what came is no frame of ZMTP")
        if not flags & LONG:
            self._begin += _SHORT_HEAD_BYTES
            return flags, self._buffer[begin + 1]
        if self._end - begin < _LONG_HEAD_BYTES:
            self._fill(_LONG_HEAD_BYTES)
        begin = self._begin
        self._begin += _LONG_HEAD_BYTES
        return flags, _SIZE.unpack_from(self._buffer, begin + 1)[0]

    def command(self, size: int) -> bytes:
        """The content of a command.

        Raises:
            ProtocolError: It is too long.
        """
        if size > _MAX_COMMAND_BYTES:
            raise ProtocolError(f"a command of {size} bytes")
        return bytes(self.take(size))

    def take(self, size: int) -> memoryview:
        """The next bytes, in memory of their own; read-only.

        Raises:
            ProtocolError: There is no memory for them.
        """
        if size <= len(self._buffer):
            self._fill(size)
            begin = self._begin
            self._begin += size
            return memoryview(bytes(self._view[begin : self._begin]))
        try:
            # Not a bytearray, whose memory would be touched before the bytes have come.
            taken = np.empty(size, np.uint8).data
        except (MemoryError, ValueError):
            raise ProtocolError(
                f"{size} bytes are announced, there is no memory for them"
            ) from None
        there = self._end - self._begin
        taken[:there] = self._view[self._begin : self._end]
        self._begin = self._end = 0
        while there < size:
            there += self._receive(taken[there:], True)
        return taken.toreadonly()

    def skip(self, size: int) -> None:
        """Pass over the next bytes."""
        while size:
            self._fill(1)
            step = min(size, self._end - self._begin)
            self._begin += step
            size -= step

    def _fill(self, size: int) -> None:
        """Have at least so many bytes in the buffer."""
        if self._end - self._begin >= size:
            return
        if self._begin == self._end:
            self._begin = self._end = 0
        if self._begin + size > len(self._buffer):
            rest = self._buffer[self._begin : self._end]
            self._buffer[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        while self._end - self._begin < size:
            self._end += self._receive(self._view[self._end :], False)
