# SPDX-License-Identifier: Apache-2.0
"""The client's channel in plain text: against libzmq, and against servers that misbehave."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_server import (
    GREETING,
    PING,
    PONG,
    READY,
    answering,
    framed,
    receive,
    shake_hands,
    take_request,
)
from server_rig import wait_until

from gr00t_policy_core import (
    MsgSerializer,
    PolicyTimeoutError,
    ProtocolError,
)
from gr00t_policy_core.serving.client.connection import Connection
from gr00t_policy_core.serving.transport import tcp_client
from gr00t_policy_core.serving.transport.deadline import Deadline

LIMIT = 2**24
READY_TO_ASK = READY.replace(b"\x06ROUTER", b"\x06DEALER")  # as we may be met by ourselves
PACKET = tcp_client._PACKET_BYTES


@pytest.fixture
def echo(sockets) -> Iterator[int]:
    """The port of a libzmq server that answers each request with itself."""
    router = sockets.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if router.poll(20):
                router.send_multipart(router.recv_multipart())

    serving = threading.Thread(target=serve)
    serving.start()
    yield port
    ended.set()
    serving.join()


@contextlib.contextmanager
def connected(port: int) -> Iterator[Connection]:
    connection = Connection("127.0.0.1", port, max_message_bytes=LIMIT)
    yield connection
    connection.close()


def ask(connection: Connection, *parts: object, timeout_ms: float = 10_000) -> bytes:
    return bytes(connection.exchange("test", parts, Deadline(timeout_ms)))


@pytest.mark.parametrize(
    "size", [0, 1, 255, 256, PACKET - 11, PACKET, 2**16 - 9, 2**16, 2**16 + 1, 3_000_000]
)
def test_a_message_of_any_size_goes_there_and_comes_back(echo, size):
    body = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()
    with connected(echo) as connection:
        for _ in range(3):
            assert ask(connection, body) == body


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 40, PACKET - 1, PACKET, PACKET + 1, 200_000])))
def test_packets_hold_all_bytes_in_order_and_none_is_too_large(sizes):
    parts = [bytes([index % 256]) * size for index, size in enumerate(sizes)]
    packets = [bytes(packet) for packet in tcp_client._packets(parts)]
    assert b"".join(packets) == b"".join(parts)
    assert all(0 < len(packet) <= PACKET for packet in packets)
    assert all(len(packet) == PACKET for packet in packets[:-1])


def test_what_is_large_is_not_copied_also_behind_what_ends_with_a_packet():
    parts = [memoryview(bytes(PACKET)) for _ in range(3)]
    assert [packet.obj for packet in tcp_client._packets(parts)] == [p.obj for p in parts]


def test_arrays_of_every_kind_are_sent_as_they_would_be_joined(echo):
    arrays = [
        np.arange(5, dtype=">i4"),
        np.ones((3, 2), np.float16),
        np.array([True, False]),
        np.array(2.5),
        np.zeros((0, 7), np.float32),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(200_000, dtype=np.int64)[::2],
        *[np.float32(number) for number in range(1500)],  # more parts than the kernel takes
    ]
    with connected(echo) as connection:
        for dialect in ("n1d6", "n1d7"):
            whole = MsgSerializer.to_bytes(arrays, dialect=dialect)
            assert ask(connection, *MsgSerializer.to_parts(arrays, dialect=dialect)) == whole


def test_a_reply_may_come_byte_by_byte(scripted):
    def dribble(connection: socket.socket) -> None:
        shake_hands(connection)
        take_request(connection)
        for byte in PING + framed(b"reply"):
            connection.sendall(bytes([byte]))
        assert receive(connection, len(PONG)) == PONG

    with connected(scripted(dribble)) as connection:
        assert ask(connection, b"?") == b"reply"


def test_pings_are_answered_while_it_waits_and_before_the_next_request(scripted):
    seen = []

    def script(connection: socket.socket) -> None:
        shake_hands(connection)
        take_request(connection)
        connection.sendall(PING)
        seen.append(receive(connection, len(PONG)))
        connection.sendall(framed(b"one") + PING)
        seen.append(receive(connection, len(PONG)))
        take_request(connection)
        connection.sendall(framed(b"two"))

    with connected(scripted(script)) as connection:
        assert ask(connection, b"?") == b"one"
        assert ask(connection, b"?") == b"two"
    assert seen == [PONG, PONG]


@pytest.mark.parametrize("farewell", [b"", b"\x01\0\0\x04late"], ids=["closed", "unasked reply"])
def test_a_connection_of_no_more_use_is_made_anew_before_the_next_request(scripted, farewell):
    gone = threading.Event()

    def first(connection: socket.socket) -> None:
        shake_hands(connection)
        take_request(connection)
        connection.sendall(framed(b"one") + farewell)
        if farewell:
            with contextlib.suppress(ConnectionError):
                receive(connection, 1)
        gone.set()

    with connected(scripted(first, answering(framed(b"two")))) as connection:
        assert ask(connection, b"?") == b"one"
        if not farewell:
            assert gone.wait(10)
            wait_until(lambda: not connection._channel.is_open(Deadline(100)))
        assert ask(connection, b"?") == b"two"


def test_a_server_that_goes_in_the_middle_of_a_ping_is_connected_to_again(scripted):
    gone = threading.Event()

    def first(connection: socket.socket) -> None:
        shake_hands(connection)
        take_request(connection)
        connection.sendall(framed(b"one") + PING[:4])
        gone.set()

    with connected(scripted(first, answering(framed(b"two")))) as connection:
        assert ask(connection, b"?") == b"one"
        assert gone.wait(10)
        assert ask(connection, b"?") == b"two"


def test_a_connection_lost_before_the_answer_is_told_at_once(scripted):
    def script(connection: socket.socket) -> None:
        shake_hands(connection)
        take_request(connection)

    with connected(scripted(script, answering(framed(b"two")))) as connection:
        started_s = time.monotonic()
        with pytest.raises(PolicyTimeoutError, match="test: no answer: the connection was lost"):
            ask(connection, b"?", timeout_ms=600_000)
        assert time.monotonic() - started_s < 300
        assert ask(connection, b"?") == b"two"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (b"\x00\x04body", "without the empty frame"),
        (b"\x01\x01x\x00\x01y", "without the empty frame"),
        (b"\x01\0\x01\x04body\x00\x04more", "several frames"),
        (b"\x01\0\x02" + (2**63).to_bytes(8, "big"), f"the limit is {LIMIT}"),
        (b"\x01\0\x02" + (LIMIT + 1).to_bytes(8, "big"), f"{LIMIT + 1} bytes is announced"),
        (b"\x06" + (2**40).to_bytes(8, "big"), "a command of"),
        (b"HTTP/1.1 400 Bad Request", "not a ZMTP frame"),
    ],
)
def test_what_is_no_reply_is_an_error_and_the_next_request_goes_elsewhere(scripted, reply, problem):
    port = scripted(answering(reply), answering(framed(b"fine")))
    with connected(port) as connection:
        with pytest.raises(ProtocolError, match=rf"127\.0\.0\.1:{port} test: .*{problem}"):
            ask(connection, b"?")
        assert ask(connection, b"?") == b"fine"


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak ZeroMQ, it begins with b'SSH-2.0"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak ZeroMQ, .*b'HTTP/1.1 400 Bad"),
        (b"\xff" + bytes(8) + b"\x7f\x01" + bytes(53), r"before 3\.0"),
    ],
)
def test_something_else_that_listens_there_is_named(scripted, greeting, problem):
    def script(connection: socket.socket) -> None:
        connection.sendall(greeting)
        with contextlib.suppress(ConnectionError):
            receive(connection, 1000)

    with (
        connected(scripted(script)) as connection,
        pytest.raises(ProtocolError, match=problem),
    ):
        ask(connection, b"?")


@pytest.mark.parametrize(
    ("goodbye", "why"),
    [
        (b"", "closes it at once: a tunnel or proxy with no server behind it"),
        (GREETING[:30], "rejected this client: the server closed the connection"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "is secured, and this client has no keys"),
        (GREETING + b"\x04\x0b\x05ERROR\x04nope", "refuses the connection: nope"),
        (GREETING + READY_TO_ASK, "answers no requests"),
    ],
    ids=["closed", "cut off", "secured", "refused", "asks"],
)
def test_a_server_that_rejects_the_client_is_asked_again_until_the_time_is_up(
    scripted, goodbye, why
):
    def script(connection: socket.socket) -> None:
        connection.sendall(goodbye)
        with contextlib.suppress(ConnectionError):
            receive(connection, 64 if len(goodbye) <= 64 else 64 + 40)

    port = scripted(*[script] * 20)
    with (
        connected(port) as connection,
        pytest.raises(PolicyTimeoutError, match=f"within 500 ms .*{why}"),
    ):
        ask(connection, b"?", timeout_ms=500)


def test_what_accepts_connections_and_says_nothing_may_be_another_service() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        connected(silent.getsockname()[1]) as connection,
        pytest.raises(PolicyTimeoutError, match="says nothing: the server hangs, or something"),
    ):
        ask(connection, b"?", timeout_ms=100)


def test_a_reply_for_which_there_is_no_memory_is_refused(scripted):
    port = scripted(answering(b"\x01\0\x02" + (2**60).to_bytes(8, "big")))
    connection = Connection("127.0.0.1", port, max_message_bytes=2**62)
    with pytest.raises(ProtocolError, match=r"127\.0\.0\.1:.*not enough memory"):
        ask(connection, b"?")
    connection.close()


def endless_pings(connection: socket.socket) -> None:
    shake_hands(connection)
    take_request(connection)
    while True:
        connection.sendall(PING)
        receive(connection, len(PONG))


closed = threading.Event()  # the client is done with the server that never reads


def endless_reply(connection: socket.socket) -> None:
    shake_hands(connection)
    take_request(connection)
    connection.sendall(b"\x01\0\x02" + LIMIT.to_bytes(8, "big"))
    while True:
        connection.sendall(b"x")
        closed.wait(0.01)


def deaf(connection: socket.socket) -> None:
    shake_hands(connection)
    closed.wait(60)


@pytest.mark.parametrize("script", [endless_pings, endless_reply, deaf])
def test_nothing_that_a_server_sends_or_leaves_keeps_a_call_beyond_its_time(scripted, script):
    parts = [bytes(LIMIT)] if script is deaf else [b"?"]
    closed.clear()
    with connected(scripted(script)) as connection:
        started_s = time.monotonic()
        with pytest.raises(PolicyTimeoutError, match="no answer within 300 ms"):
            ask(connection, *parts, timeout_ms=300)
        assert time.monotonic() - started_s < 60
    closed.set()
