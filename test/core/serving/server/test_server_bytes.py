# SPDX-License-Identifier: Apache-2.0
"""Raw bytes on the socket: whole messages, parts of them, too many, and garbage."""

import os
import random
import socket
from pathlib import Path
from typing import Any

import pytest
import zmq
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyServer

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03REQ"


def handshaken(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(GREETING)
    received = b""
    while len(received) < 64:
        received += connection.recv(64 - len(received))
    connection.sendall(READY)
    assert connection.recv(1024)
    return connection


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def closed_by_peer(connection: socket.socket) -> bool:
    try:
        return connection.recv(1024) == b""
    except ConnectionError:
        return True


def test_a_message_by_hand_is_answered(server):
    with handshaken(server.port) as connection:
        body = b"\x81\xa8endpoint\xa4ping"
        connection.sendall(b"\x01\x00" + b"\x00" + bytes([len(body)]) + body)
        assert b"Server is running" in connection.recv(1024)


@pytest.mark.parametrize("size", [2**31, 2**40, 2**63 - 1])
def test_gigabytes_that_are_only_announced_cost_the_connection_and_no_memory(server, client, size):
    client.ping()
    before = resident_bytes()
    with handshaken(server.port) as connection:
        connection.sendall(b"\x01\x00" + b"\x02" + size.to_bytes(8, "big") + bytes(1000))
        assert closed_by_peer(connection)
    assert client.ping()
    assert resident_bytes() - before < 64 * 2**20


def test_half_a_message_costs_the_next_client_nothing(server, client):
    halves = []
    for _ in range(50):
        connection = handshaken(server.port)
        connection.sendall(b"\x01\x00" + b"\x02" + (10**6).to_bytes(8, "big") + bytes(1000))
        halves.append(connection)
    assert client.ping()
    for connection in halves:
        connection.close()
    client.get_action(toy_observation())


def test_a_message_of_frames_without_end_costs_the_next_client_nothing(server, client):
    empty_frames = b"\x01\x00" * 1000  # each says that another one follows
    with (
        handshaken(server.port) as endless,
        handshaken(server.port) as vanishing,
        handshaken(server.port) as many,
    ):
        for connection in (endless, vanishing, many):
            connection.sendall(empty_frames)
        vanishing.close()
        assert [client.ping() for _ in range(20)] == [True] * 20
        endless.sendall(empty_frames)
        assert closed_by_peer(endless)
        many.sendall(b"\x00\x00")
        assert b"expected one frame, got 15 or more" in many.recv(1024)
    client.get_action(toy_observation())
    assert server.metrics()["errors"] == {"ProtocolError": 2}


def test_a_message_of_many_large_frames_is_refused_as_a_whole(sockets):
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "max_message_bytes": 100_000}
    with PolicyServer(ToyPolicy(), **settings) as server:
        dealer = sockets.socket(zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{server.port}")
        dealer.send_multipart([b"", *[bytes(90_000)] * 5])
        assert dealer.poll(10_000)
        assert b"450000 bytes received, the limit is 100000" in dealer.recv_multipart()[-1]


def test_a_way_back_of_many_bytes_is_not_taken(sockets):
    """Replies would carry it, and wait with it for a client that never reads."""
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, api_token="secret") as server:
        dealer = sockets.socket(zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{server.port}")
        for way in (bytes(256), b"x" * 255):
            dealer.send_multipart([way, b"", b"\x81\xa8endpoint\xa4ping"])
        assert dealer.poll(10_000)
        assert dealer.recv_multipart()[0] == b"x" * 255
        assert not dealer.poll(0)


def test_garbage_from_a_port_scanner_is_survived(server, client):
    generator = random.Random(0)
    noises = [b"GET / HTTP/1.1\r\n\r\n", bytes(1000), GREETING[:12], GREETING + READY[:9], b""]
    noises += [generator.randbytes(generator.randint(1, 2000)) for _ in range(100)]
    noises += [GREETING + generator.randbytes(generator.randint(1, 200)) for _ in range(100)]
    answered = 0
    for noise in noises:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as scanner:
            scanner.sendall(noise)
            answered += client.ping()
    assert answered == len(noises) == 205
    assert server.metrics()["requests"] == {"ping": 205}
    # Some of it is a message of ZMTP 1, which had no greeting, and is refused as such.
    assert server.metrics()["errors"].keys() == {"ProtocolError"}


def test_connections_that_only_open_cost_the_next_one_nothing(server, client):
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(50)]
    try:
        assert client.ping()
    finally:
        for connection in idle:
            connection.close()
    assert client.ping()
