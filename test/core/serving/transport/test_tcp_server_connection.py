# SPDX-License-Identifier: Apache-2.0
"""Clients of a server in plain text that are slow, silent, misbehave, or are too many."""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from raw_client import (
    LARGE,
    PING,
    READY,
    handshaken,
    is_closed,
    is_closed_after_greeting,
    opened,
    reply_from,
    request,
)
from scripted_server import receive
from server_rig import serving, wait_until
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.serving.transport import tcp_reply_writer, tcp_server_connection, zmtp


@pytest.fixture
def hasty(monkeypatch) -> Iterator[PolicyServer]:
    """A server that does not wait long for what was begun."""
    monkeypatch.setattr(tcp_server_connection, "STALLED_S", 0.2)
    monkeypatch.setattr(tcp_server_connection, "HANDSHAKE_S", 0.2)
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0) as running:
        yield running


def threads_of_clients() -> int:
    return sum(thread.name.startswith("gr00t-client") for thread in threading.enumerate())


def test_a_request_that_comes_byte_by_byte_is_answered(server):
    with opened(server.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in zmtp.GREETING + READY + request(PING):
            connection.sendall(bytes([byte]))
        receive(connection, 64)
        receive(connection, receive(connection, 2)[1])
        assert b"Server is running" in reply_from(connection)


def test_requests_that_come_together_are_each_answered(server):
    with handshaken(server.port) as connection:
        connection.sendall(request(PING) * 3)
        assert all(b"Server is running" in reply_from(connection) for _ in range(3))


def test_a_clients_ping_is_answered_with_what_it_carried(server):
    with handshaken(server.port) as connection:
        connection.sendall(zmtp.command(zmtp.PING + b"\0\x0aabc") + request(PING))
        assert receive(connection, 10) == zmtp.command(zmtp.PONG + b"abc")
        assert b"Server is running" in reply_from(connection)


def test_a_stock_socket_with_heartbeats_stays_connected(server, sockets):
    asking = sockets.socket(zmq.REQ)
    asking.setsockopt(zmq.HEARTBEAT_IVL, 20)
    asking.setsockopt(zmq.HEARTBEAT_TIMEOUT, 200)
    events = asking.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(PING)
    assert asking.poll(10_000)
    assert not events.poll(600)
    asking.disable_monitor()


def test_who_sends_nothing_more_of_a_message_is_gone_and_who_is_silent_is_not(hasty):
    body = bytes(100_000)
    with (
        handshaken(hasty.port) as silent,
        handshaken(hasty.port) as pinged_once,
        handshaken(hasty.port) as stalled,
        handshaken(hasty.port) as stalled_in_a_head,
    ):
        pinged_once.sendall(zmtp.command(zmtp.PING + b"\0\0"))
        stalled.sendall(request(body)[:50_000])
        stalled_in_a_head.sendall(request(body)[:5])
        assert is_closed(stalled)
        assert is_closed(stalled_in_a_head)
        assert receive(pinged_once, 7) == zmtp.command(zmtp.PONG)
        for connection in (silent, pinged_once):
            connection.sendall(request(PING))
            assert b"Server is running" in reply_from(connection)


def test_a_handshake_that_takes_too_long_ends(hasty):
    with opened(hasty.port) as nothing, opened(hasty.port) as dripping:
        dripping.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            while True:
                dripping.sendall(zmtp.GREETING[:1])
                time.sleep(0.02)
        assert receive(nothing, 12) == zmtp.GREETING[:12]
        assert is_closed(nothing)


@pytest.mark.parametrize(
    ("kind", "answered"),
    [(b"REQ", True), (b"DEALER", True), (b"ROUTER", True), (b"SUB", False), (b"PUSH", False)],
)
def test_sockets_that_ask_for_something_are_let_in(server, kind, answered):
    with handshaken(server.port, zmtp.ready(kind)) as connection:
        connection.sendall(request(PING))
        if answered:
            assert b"Server is running" in reply_from(connection)
        else:
            flags, size = receive(connection, 2)
            assert flags == zmtp.COMMAND
            assert receive(connection, size).startswith(zmtp.ERROR)
            assert is_closed(connection)


def test_a_client_with_keys_is_told_in_the_log_that_there_are_none(server, sockets, caplog):
    public, secret = zmq.curve_keypair()
    asking = sockets.socket(zmq.REQ)
    asking.curve_serverkey, asking.curve_publickey, asking.curve_secretkey = public, public, secret
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(PING)
    wait_until(lambda: "the client wants encryption, and this server has no keys" in caplog.text)
    assert not asking.poll(0)


def test_who_does_not_read_large_replies_costs_nobody_else_anything(server, client):
    server.register_endpoint("large", lambda: np.zeros(LARGE, np.uint8), requires_input=False)
    ask = request(msgpack.packb({"endpoint": "large"}))
    with handshaken(server.port) as lazy:
        lazy.sendall(ask * 3)
        for _ in range(5):
            client.get_action(toy_observation())
        wait_until(lambda: server.metrics()["requests"].get("large") == 3)
        wait_until(lambda: server.metrics()["sent_bytes"] > 3 * LARGE)
        assert [len(reply_from(lazy)) > LARGE for _ in range(3)] == [True] * 3
        lazy.sendall(request(PING))
        assert b"Server is running" in reply_from(lazy)


def test_replies_that_nobody_reads_are_dropped_in_the_end(server, client, monkeypatch):
    monkeypatch.setattr(tcp_reply_writer, "MAX_QUEUED_REPLIES", 2)
    server.register_endpoint("large", lambda: np.zeros(LARGE, np.uint8), requires_input=False)
    ask = request(msgpack.packb({"endpoint": "large"}))
    with handshaken(server.port) as lazy:
        for asked in range(1, 7):
            lazy.sendall(ask)
            wait_until(lambda asked=asked: server.metrics()["sent_bytes"] > asked * LARGE)
        assert client.ping()
        lazy.settimeout(0.5)
        whole = 0
        with contextlib.suppress(TimeoutError):
            while True:
                assert len(reply_from(lazy)) > LARGE
                whole += 1
        assert 2 <= whole < 6


def test_who_never_reads_is_gone_in_the_end(hasty):
    hasty.register_endpoint("large", lambda: np.zeros(LARGE, np.uint8), requires_input=False)
    with handshaken(hasty.port) as lazy:
        lazy.sendall(request(msgpack.packb({"endpoint": "large"})))
        wait_until(lambda: threads_of_clients() == 1)
        wait_until(lambda: threads_of_clients() == 0)


def test_a_large_reply_on_its_way_arrives_although_the_server_stops():
    server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=0).start()
    asked = threading.Event()

    def large() -> Any:
        asked.set()
        return np.zeros(LARGE, np.uint8)

    server.register_endpoint("large", large, requires_input=False)
    replies: list[Any] = []

    def ask() -> None:
        with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as client:
            replies.append(client.call_endpoint("large"))

    asking = threading.Thread(target=ask)
    asking.start()
    assert asked.wait(10)
    server.stop()
    asking.join(10)
    assert [reply.nbytes for reply in replies] == [LARGE]


@pytest.fixture
def small() -> Iterator[PolicyServer]:
    """A server with room for two clients."""
    with serving(max_connections=2) as running:
        yield running


def test_where_there_is_no_room_the_client_that_was_silent_for_longest_goes(small):
    server = small
    with handshaken(server.port) as robot, handshaken(server.port) as silent:
        robot.sendall(request(PING))
        reply_from(robot)
        with handshaken(server.port) as newcomer:
            assert is_closed(silent)
            for connection in (robot, newcomer):
                connection.sendall(request(PING))
                assert b"Server is running" in reply_from(connection)
        wait_until(lambda: threads_of_clients() == 1)


def test_where_there_is_no_room_who_waits_for_an_answer_stays(small):
    server = small
    asked, may_answer = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        may_answer.wait(20)
        return "at last"

    server.register_endpoint("slow", slow, requires_input=False)
    with handshaken(server.port) as waiting, handshaken(server.port) as later:
        waiting.sendall(request(msgpack.packb({"endpoint": "slow"})))
        assert asked.wait(10)
        later.sendall(request(PING))
        reply_from(later)
        with handshaken(server.port):
            assert is_closed(later)
            may_answer.set()
            assert b"at last" in reply_from(waiting)


def test_where_there_is_no_room_who_does_not_even_shake_hands_goes_first(small):
    server = small
    with handshaken(server.port) as quiet:
        for _ in range(5):
            with opened(server.port) as mute, opened(server.port):
                assert is_closed_after_greeting(mute)
        quiet.sendall(request(PING))
        assert b"Server is running" in reply_from(quiet)


@pytest.mark.parametrize(
    ("flood", "pauses"),
    [
        (zmtp.command(zmtp.PONG) * 100, 6),
        (zmtp.command(zmtp.PING + b"\0\0") * 100, 6),
        (b"\x01\0" * 100 + b"\0\0", (101 - 16) // 16),
        (request(PING) * 100, 0),
    ],
    ids=["pong", "ping", "frames", "requests"],
)
def test_a_flood_of_what_is_no_request_leaves_python_to_the_others(
    server, monkeypatch, flood, pauses
):
    paused_s: list[float] = []
    clock = SimpleNamespace(
        monotonic=time.monotonic, thread_time=time.thread_time, sleep=paused_s.append
    )
    monkeypatch.setattr(tcp_server_connection, "time", clock)
    with handshaken(server.port) as flooding:
        flooding.sendall(flood + request(msgpack.packb({"endpoint": "metrics"})))
        answers = b""
        while b"uptime_s" not in answers:
            answers += flooding.recv(2**16)
    assert len(paused_s) == pauses


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ECONNABORTED])
def test_a_system_without_sockets_to_spare_is_survived(server, client, monkeypatch, code):
    client.ping()
    failures = iter([True, True, True])
    accept = socket.socket.accept

    def failing(listening: socket.socket) -> Any:
        if next(failures, False):
            raise OSError(code, os.strerror(code))
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as later:
        assert later.ping()
    assert client.ping()


def test_a_system_without_threads_to_spare_is_survived(server, client, monkeypatch):
    client.ping()
    start = threading.Thread.start
    failures = iter([True, True])  # also after another client had to go

    def failing(thread: threading.Thread) -> None:
        if thread.name.startswith("gr00t-client") and next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with opened(server.port) as turned_away:
        assert is_closed(turned_away)
    with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as later:
        assert later.ping()
    assert client.ping()


def test_a_reply_that_cannot_be_sent_on_for_want_of_threads_ends_the_connection(
    server, client, monkeypatch
):
    server.register_endpoint("large", lambda: np.zeros(LARGE, np.uint8), requires_input=False)
    start = threading.Thread.start

    def failing(thread: threading.Thread) -> None:
        if thread.name == "gr00t-sender":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with handshaken(server.port) as lazy:
        lazy.sendall(request(msgpack.packb({"endpoint": "large"})))
        wait_until(lambda: server.metrics()["sent_bytes"] > LARGE)
        with pytest.raises(ConnectionError):
            reply_from(lazy)
    wait_until(lambda: threads_of_clients() == 0)
    assert client.ping()


def test_clients_that_come_and_go_leave_no_threads_and_no_descriptors(server):
    def visit() -> None:
        with handshaken(server.port) as connection:
            connection.sendall(request(PING))
            reply_from(connection)

    visit()
    wait_until(lambda: threads_of_clients() == 0)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        visit()
    wait_until(lambda: threads_of_clients() == 0)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_name_of_an_interface_can_be_listened_on():
    with PolicyServer(ToyPolicy(), host="lo", port=0) as server:
        assert server.metrics()["open_to_network"]  # the name alone does not tell
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.ping()


@pytest.mark.parametrize("cut", range(7, 25))
def test_a_ready_that_ends_too_early_is_malformed(server, cut):
    content = (zmtp.READY + b"\x0bSocket-Type\0\0\0\x03REQ")[:cut]
    with opened(server.port) as connection:
        connection.sendall(zmtp.GREETING + zmtp.command(content))
        receive(connection, 64)
        receive(connection, receive(connection, 2)[1])
        assert is_closed(connection)
