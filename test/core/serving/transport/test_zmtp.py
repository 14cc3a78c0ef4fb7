# SPDX-License-Identifier: Apache-2.0
"""ZMTP frames, in whatever pieces they arrive."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr00t_policy_core import ProtocolError
from gr00t_policy_core.serving.transport import zmtp

BUFFER_BYTES = 64
FRAMES = st.lists(
    st.tuples(st.sampled_from([0, zmtp.MORE]), st.binary(max_size=5 * BUFFER_BYTES)), max_size=8
)


class Stream:
    """Bytes that come in pieces of these sizes, then as many as there is room for."""

    def __init__(self, data: bytes, pieces: list[int]) -> None:
        self._data = data
        self._pieces: Iterator[int] = iter(pieces)

    def receive(self, room: memoryview, whole: bool) -> int:
        piece = self._data[: min(next(self._pieces, len(room)), len(room))]
        if not piece:
            raise EOFError
        room[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)


def reader(data: bytes, pieces: list[int]) -> zmtp.FrameReader:
    return zmtp.FrameReader(Stream(data, pieces).receive, BUFFER_BYTES)


@given(FRAMES, st.lists(st.integers(1, 2 * BUFFER_BYTES)))
def test_frames_arrive_as_they_were_sent(frames, pieces):
    sent = b"".join(zmtp.frame_header(len(body), flags) + body for flags, body in frames)
    frame_reader = reader(sent, pieces)
    for flags, body in frames:
        got, size = frame_reader.frame_header()
        assert got & zmtp.MORE == flags
        assert frame_reader.take(size) == body
    assert not frame_reader.has_bytes
    with pytest.raises(EOFError):
        frame_reader.frame_header()


@given(FRAMES, st.lists(st.integers(1, 2 * BUFFER_BYTES)))
def test_frames_that_are_skipped_leave_the_next_one_whole(frames, pieces):
    sent = b"".join(zmtp.frame_header(len(body), flags) + body for flags, body in frames)
    frame_reader = reader(sent + zmtp.command(zmtp.PING), pieces)
    for _ in frames:
        _, size = frame_reader.frame_header()
        frame_reader.skip(size)
    flags, size = frame_reader.frame_header()
    assert flags == zmtp.COMMAND
    assert frame_reader.command(size) == zmtp.PING


@given(st.binary(max_size=300), st.lists(st.integers(1, 2 * BUFFER_BYTES)))
def test_any_bytes_are_frames_or_an_error_of_the_protocol(data, pieces):
    frame_reader = reader(data, pieces)
    with pytest.raises((ProtocolError, EOFError)):  # noqa: PT012
        if data[:1] == zmtp.GREETING[:1]:
            frame_reader.greeting()
        while True:
            flags, size = frame_reader.frame_header()
            if flags & zmtp.COMMAND:
                zmtp.socket_type(frame_reader.command(size))
            else:
                frame_reader.take(min(size, 2**20))


@given(st.binary(max_size=60))
def test_any_content_of_a_ready_names_a_socket_or_is_malformed(content):
    ready = zmtp.READY + content
    try:
        assert zmtp.socket_type(ready) in ready
    except ProtocolError:
        assert content


@given(st.binary(max_size=60))
def test_a_pong_carries_what_the_ping_did(context):
    frame_reader = reader(zmtp.pong(zmtp.PING + b"\0\0" + context), [])
    flags, size = frame_reader.frame_header()
    assert flags == zmtp.COMMAND
    assert frame_reader.command(size) == zmtp.PONG + context[:16]


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (b"GET / HTTP/1.1", "does not speak ZeroMQ"),
        (b"\xff" + bytes(8) + b"\x7f\x01" + bytes(53), "before 3.0"),
        (b"\xff" + bytes(8) + b"\x7e\x03" + bytes(53), "before 3.0"),
    ],
)
def test_what_is_no_greeting_is_named(greeting, problem):
    with pytest.raises(ProtocolError, match=problem):
        reader(greeting, []).greeting()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zmtp.READY + b"\x0bSocket-Type\0\0\0\x03REQ", b"REQ"),
        (zmtp.READY + b"\x01x\0\0\0\x02yy\x0bsocket-type\0\0\0\x06DEALER", b"DEALER"),
        (zmtp.READY, b""),
    ],
)
def test_a_ready_names_its_socket_among_other_properties(content, kind):
    assert zmtp.socket_type(content) == kind
