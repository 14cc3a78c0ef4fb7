# SPDX-License-Identifier: Apache-2.0
"""Connections that use up descriptors, threads and memory."""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest
from raw_client import (
    LARGE,
    PING,
    handshaken,
    is_closed,
    is_closed_after_greeting,
    opened,
    reply_from,
    request,
)
from server_rig import serving, wait_until
from toy_policy import toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer, SpecError
from gr00t_policy_core.serving.transport import tcp_server_connection, zmtp

# A server in a process of its own that may have `soft` of `hard` descriptors; ends with its stdin.
SERVE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from gr00t_policy_core import PolicyServer
from toy_policy import ToyPolicy
with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, max_connections_per_address=500) as server:
    print(server.port, resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
    sys.stdin.read()
"""


def started(soft: int, hard: int) -> tuple[subprocess.Popen[str], int, int]:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(soft), str(hard)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    port, limit = process.stdout.readline().split()
    return process, int(port), int(limit)


def test_idle_connections_do_not_keep_a_robot_out_where_descriptors_are_few():
    process, port, limit = started(96, 96)
    with process:
        assert limit == 96
        idle = [handshaken(port) for _ in range(40)]
        idle += [opened(port) for _ in range(80)]
        with PolicyClient("127.0.0.1", port, timeout_ms=20_000) as robot:
            robot.get_action(toy_observation())
            idle += [opened(port) for _ in range(80)]
            robot.get_action(toy_observation())
        for connection in idle:
            connection.close()
        process.stdin.close()


def test_the_limit_of_descriptors_is_raised_as_far_as_connections_need_it():
    process, _, limit = started(128, 4096)
    with process:
        assert 1024 < limit <= 2048
        process.stdin.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_where_the_system_has_no_descriptors_the_idlest_client_goes(server, monkeypatch, code):
    accept = socket.socket.accept
    failures = iter([True])

    def failing(listening: socket.socket) -> Any:
        if next(failures, False):
            raise OSError(code, os.strerror(code))
        return accept(listening)

    with handshaken(server.port) as silent, handshaken(server.port) as robot:
        robot.sendall(request(PING))
        reply_from(robot)
        monkeypatch.setattr(socket.socket, "accept", failing)
        with handshaken(server.port) as newcomer:
            assert is_closed(silent)
            for connection in (robot, newcomer):
                connection.sendall(request(PING))
                assert b"Server is running" in reply_from(connection)


def test_where_the_system_has_no_threads_the_idlest_client_goes(server, monkeypatch):
    start, failures = threading.Thread.start, iter([True])

    def failing(thread: threading.Thread) -> None:
        if thread.name.startswith("gr00t-client") and next(failures, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    with handshaken(server.port) as silent:
        monkeypatch.setattr(threading.Thread, "start", failing)
        with handshaken(server.port) as newcomer:
            assert is_closed(silent)
            newcomer.sendall(request(PING))
            assert b"Server is running" in reply_from(newcomer)


def test_an_address_with_too_many_connections_loses_one_of_its_own():
    with (
        serving(max_connections_per_address=2) as server,
        socket.create_connection(
            ("127.0.0.1", server.port), 10, source_address=("127.0.0.2", 0)
        ) as elsewhere,
        handshaken(server.port) as first,
        handshaken(server.port) as second,
    ):
        elsewhere.sendall(zmtp.GREETING + zmtp.ready(b"REQ"))
        second.sendall(request(PING))
        reply_from(second)
        with handshaken(server.port) as third:
            assert is_closed(first)
            for connection in (second, third):
                connection.sendall(request(PING))
                assert b"Server is running" in reply_from(connection)
            elsewhere.sendall(request(PING))
            answer = b""
            while b"Server is running" not in answer:
                answer += elsewhere.recv(4096)


def test_who_holds_back_what_it_announced_makes_room_for_who_sends_it():
    with serving(max_message_bytes=LARGE, max_receiving_bytes=2 * LARGE) as server:
        begun = request(bytes(LARGE))[:5000]
        with handshaken(server.port) as first, handshaken(server.port) as second:
            first.sendall(begun)
            wait_until(lambda: server._transport._receive_budget.reserved_bytes == LARGE)
            second.sendall(begun)
            wait_until(lambda: server._transport._receive_budget.reserved_bytes == 2 * LARGE)
            with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as robot:
                robot.get_action(toy_observation(height=480, width=640))
            assert is_closed(first)
            second.sendall(request(bytes(LARGE))[5000:])
            assert b"malformed" in reply_from(second)
        wait_until(lambda: server._transport._receive_budget.reserved_bytes == 0)


def test_who_never_reads_large_replies_makes_room_for_others():
    with serving(max_message_bytes=LARGE, max_receiving_bytes=2 * LARGE) as server:
        server.register_endpoint("large", lambda: bytes(LARGE), requires_input=False)
        ask = request(msgpack.packb({"endpoint": "large"}))
        with contextlib.ExitStack() as stack:
            lazy = [stack.enter_context(handshaken(server.port)) for _ in range(4)]
            for asked, connection in enumerate(lazy, start=1):
                for again in range(2):
                    connection.sendall(ask)
                    sent = (2 * asked - 1 + again) * LARGE
                    wait_until(lambda sent=sent: server.metrics()["sent_bytes"] > sent)
            assert is_closed_after_greeting(lazy[0])
            assert [len(reply_from(lazy[-1])) > LARGE for _ in range(2)] == [True] * 2
            with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as robot:
                robot.get_action(toy_observation())
        wait_until(lambda: server._transport._reply_budget.reserved_bytes == 0)


def test_who_has_not_shown_the_token_may_send_little(monkeypatch, caplog):
    monkeypatch.setattr(tcp_server_connection, "UNAUTHENTICATED_MESSAGE_BYTES", 10_000)
    with serving(api_token="right", max_message_bytes=LARGE) as server:
        large = msgpack.packb({"endpoint": "ping", "data": bytes(20_000), "api_token": "right"})
        for token in ("wrong", None):
            with handshaken(server.port) as connection:
                connection.sendall(request(msgpack.packb({"endpoint": "ping", "api_token": token})))
                assert b"Unauthorized" in reply_from(connection)
                connection.sendall(request(large))
                assert is_closed(connection)
        with handshaken(server.port) as connection:
            connection.sendall(request(msgpack.packb({"endpoint": "ping", "api_token": "right"})))
            reply_from(connection)
            connection.sendall(request(large))
            assert b"Server is running" in reply_from(connection)
        assert "the limit is 10000 before a request with the right token" in caplog.text


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("max_connections", 0, "max_connections must be an integer of at least 1, got 0"),
        ("max_connections_per_address", 1.5, "max_connections_per_address must be an integer"),
        ("max_receiving_bytes", 1000, "at least max_message_bytes"),
    ],
)
def test_limits_that_make_no_sense_are_refused(setting, value, says):
    with pytest.raises(SpecError, match=says):
        PolicyServer(lambda: None, host="127.0.0.1", port=0, **{setting: value})
