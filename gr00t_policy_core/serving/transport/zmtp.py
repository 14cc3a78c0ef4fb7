# SPDX-License-Identifier: Apache-2.0
"""ZMTP 3.1, ZeroMQ's protocol, with its NULL mechanism (no encryption): RFC 37.

Both ends in plain text use it: `tcp_client` and `tcp_server_connection`. libzmq wants a message in
one piece of memory and passes it through a thread of its own. On a plain socket the kernel reads
and fills the memory of arrays directly, in the thread that needs them.
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
VERSION_ENDS: Final = 12  # offset in the greeting; the mechanism follows
DELIMITER: Final = b"\x01\x00"  # the empty frame before a request or reply
READY: Final = b"\x05READY"
ERROR: Final = b"\x05ERROR"
PING: Final = b"\x04PING"
PONG: Final = b"\x04PONG"

_MAX_COMMAND_BYTES = 64 * 2**10
_SHOWN_BYTES = 24  # in the error about bytes that are not a greeting
_PING_TTL_BYTES = 2
_PING_CONTEXT_BYTES = 16
_SHORT_HEADER_BYTES, _LONG_HEADER_BYTES = 2, 9
_SIZE = struct.Struct(">Q")

Receive: TypeAlias = Callable[[memoryview, bool], int]


def frame_header(size: int, flags: int = 0) -> bytes:
    """The header of a frame of `size` bytes."""
    if size < 2**8:
        return bytes([flags, size])
    return bytes([flags | LONG]) + size.to_bytes(8, "big")


def command(content: bytes) -> bytes:
    """A command frame, with its header."""
    return frame_header(len(content), COMMAND) + content


def ready(socket_type: bytes, identity: bytes | None = None) -> bytes:
    """The READY command that ends a handshake.

    Args:
        socket_type: The type of ZeroMQ socket that this end acts as.
        identity: The Identity property; None leaves it out.
    """
    properties = _property(b"Socket-Type", socket_type)
    if identity is not None:
        properties += _property(b"Identity", identity)
    return command(READY + properties)


def pong(ping: bytes) -> bytes:
    """The command that answers a PING, given the content of the PING."""
    return command(PONG + ping[len(PING) + _PING_TTL_BYTES :][:_PING_CONTEXT_BYTES])


def socket_type(ready_content: bytes) -> bytes:
    """The Socket-Type property of a READY command, given its content; empty where there is none.

    Raises:
        ProtocolError: The READY is malformed.
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
    """Reads frames from a stream of bytes. For one thread.

    Args:
        receive: Waits for bytes, writes them to a buffer and returns how many; where its second
            argument is true, it may wait until the buffer is full. What it raises passes through.
        buffer_bytes: Size of the read-ahead buffer; longer frames are received directly into
            their own memory.
    """

    def __init__(self, receive: Receive, buffer_bytes: int) -> None:
        self._receive = receive
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0  # of the bytes in the buffer that were not read yet

    @property
    def has_bytes(self) -> bool:
        """Whether the buffer holds bytes that were not read yet."""
        return self._begin < self._end

    def greeting(self) -> bytes:
        """Read the peer's greeting and return its mechanism, padded to 20 bytes.

        Raises:
            ProtocolError: The bytes are not a greeting of ZMTP 3.
        """
        self._fill(1)
        if self._buffer[self._begin] != GREETING[0]:
            begin = bytes(self._view[self._begin : self._end])[:_SHOWN_BYTES]
            raise ProtocolError(f"the other end does not speak ZeroMQ, it begins with {begin!r}")
        self._fill(11)
        if not self._buffer[self._begin + 9] & 1 or self._buffer[self._begin + 10] < 3:
            raise ProtocolError("the other end speaks a ZeroMQ protocol before 3.0")
        return bytes(self.take(len(GREETING)))[VERSION_ENDS : VERSION_ENDS + len(NULL)]

    def frame_header(self) -> tuple[int, int]:
        """Read a frame header: the flags, and how many bytes follow.

        Raises:
            ProtocolError: The bytes are not a frame header.
        """
        if self._end - self._begin < _SHORT_HEADER_BYTES:
            self._fill(_SHORT_HEADER_BYTES)
        begin = self._begin
        flags = self._buffer[begin]
        if flags > (MORE | LONG | COMMAND):
            raise ProtocolError("the bytes received are not a ZMTP frame")
        if not flags & LONG:
            self._begin += _SHORT_HEADER_BYTES
            return flags, self._buffer[begin + 1]
        if self._end - begin < _LONG_HEADER_BYTES:
            self._fill(_LONG_HEADER_BYTES)
        begin = self._begin
        self._begin += _LONG_HEADER_BYTES
        return flags, _SIZE.unpack_from(self._buffer, begin + 1)[0]

    def command(self, size: int) -> bytes:
        """Read the content of a command.

        Raises:
            ProtocolError: The command is too long.
        """
        if size > _MAX_COMMAND_BYTES:
            raise ProtocolError(f"a command of {size} bytes; the limit is {_MAX_COMMAND_BYTES}")
        return bytes(self.take(size))

    def take(self, size: int) -> memoryview:
        """Read bytes into memory of their own; the result is read-only.

        Raises:
            ProtocolError: There is not enough memory.
        """
        if size <= len(self._buffer):
            self._fill(size)
            begin = self._begin
            self._begin += size
            return memoryview(bytes(self._view[begin : self._begin]))
        try:
            # Not a bytearray, whose pages would be written once before the bytes arrive.
            taken = np.empty(size, np.uint8).data
        except (MemoryError, ValueError):
            raise ProtocolError(
                f"{size} bytes are announced, and there is not enough memory"
            ) from None
        there = self._end - self._begin
        taken[:there] = self._view[self._begin : self._end]
        self._begin = self._end = 0
        while there < size:
            there += self._receive(taken[there:], True)
        return taken.toreadonly()

    def skip(self, size: int) -> None:
        """Discard the next bytes."""
        while size:
            self._fill(1)
            step = min(size, self._end - self._begin)
            self._begin += step
            size -= step

    def _fill(self, size: int) -> None:
        """Receive until the buffer holds at least `size` bytes."""
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
