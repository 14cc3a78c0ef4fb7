# SPDX-License-Identifier: Apache-2.0
"""A client on plain sockets, which sends a server exactly the bytes that a test wants."""

import socket

import msgpack
from scripted_server import receive

from gr00t_policy_core.serving.transport import zmtp

PING = msgpack.packb({"endpoint": "ping"})
LARGE = 8 * 2**20
READY = zmtp.ready(b"REQ")


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def handshaken(port: int, ready: bytes = READY) -> socket.socket:
    connection = opened(port)
    connection.sendall(zmtp.GREETING + ready)
    assert receive(connection, 64) == zmtp.GREETING
    flags, size = receive(connection, 2)
    assert flags == zmtp.COMMAND
    assert receive(connection, size).startswith(zmtp.READY)
    return connection


def request(body: bytes) -> bytes:
    return zmtp.DELIMITER + zmtp.frame_header(len(body)) + body


def reply_from(connection: socket.socket) -> bytes:
    assert receive(connection, 2) == zmtp.DELIMITER
    flags = receive(connection, 1)[0]
    size = receive(connection, 8 if flags & zmtp.LONG else 1)
    return receive(connection, int.from_bytes(size, "big"))


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096) == b""
    except ConnectionError:
        return True


def is_closed_after_greeting(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    return True
