# SPDX-License-Identifier: Apache-2.0
"""Servers that follow a script: ZMTP by hand, on plain sockets."""

import contextlib
import socket
from collections.abc import Callable

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
READY = b"\x04" + bytes([len(_READY)]) + _READY
PING = b"\x04\x0a\x04PING\x00\x00abc"
PONG = b"\x04\x08\x04PONGabc"
Script = Callable[[socket.socket], None]


def receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            raise ConnectionError("the other end is gone")
        received += more
    return received


def shake_hands(connection: socket.socket) -> None:
    connection.sendall(GREETING)
    assert receive(connection, 64)[10] == 3
    connection.sendall(READY)
    flags, size = receive(connection, 2)
    assert flags == 4
    assert b"Socket-Type\0\0\0\x03REQ" in receive(connection, size)


def take_request(connection: socket.socket) -> bytes:
    """Receive a request of less than 256 bytes."""
    assert receive(connection, 3) == b"\x01\0\0"
    return receive(connection, receive(connection, 1)[0])


def answering(*replies: bytes) -> Script:
    """Receives a request for each reply (given with its framing), then waits for the client."""

    def script(connection: socket.socket) -> None:
        shake_hands(connection)
        for reply in replies:
            take_request(connection)
            connection.sendall(reply)
        with contextlib.suppress(ConnectionError):
            receive(connection, 1)

    return script


def framed(body: bytes) -> bytes:
    return b"\x01\0\0" + bytes([len(body)]) + body
