# SPDX-License-Identifier: Apache-2.0
"""The outermost map of a request is read the same in the quick way and in the thorough one."""

from typing import Any

import msgpack
import pytest

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.wire import envelope
from gr00t_policy_core.serving.wire.envelope import RequestReader

hypothesis = pytest.importorskip("hypothesis", reason="makes up the requests of these tests")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

TEXTS = st.text(max_size=20)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    TEXTS,
    st.binary(max_size=600),
    st.lists(TEXTS, max_size=3),
    st.dictionaries(TEXTS, TEXTS, max_size=3),
)
KEYS = st.one_of(
    st.sampled_from(["endpoint", "api_token", "envelope", "client", "run", "data"]),
    TEXTS,
    st.binary(max_size=8),
    st.integers(-(2**63), 2**64 - 1),
    st.lists(TEXTS, max_size=2),
)
ENTRIES = st.lists(st.tuples(KEYS, VALUES), max_size=6)


def packed(entries: list[tuple[Any, Any]]) -> bytes:
    """A map with these entries in this order, also where keys stand twice."""
    parts = [msgpack.packb(part) for entry in entries for part in entry]
    return msgpack.Packer().pack_map_header(len(entries)) + b"".join(parts)


def read(message: bytes) -> Any:
    """The request with its data as bytes, or the error's text."""
    try:
        request = RequestReader().read(memoryview(message))
    except ProtocolError as error:
        return str(error)
    data = None if request.data is None else bytes(request.data)
    return (request.endpoint, request.token, request.envelope, data, request.client, request.run)


def require_same(message: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(message)
    with monkeypatch.context() as patched:
        patched.setattr(envelope, "_usual_request", lambda message: None)
        assert found == read(message)


@given(ENTRIES, st.integers(0, 80), st.binary(max_size=3))
@example([("endpoint", "get_action"), ("envelope", True), ("data", {"a": "b"})], 80, b"")
@example([("endpoint", 7), ("data", 1)], 80, b"")
@example([("run", "a"), ("run", "b"), ("data", 1)], 80, b"x")
def test_requests_whole_cut_and_followed_by_bytes(entries, length, rest):
    message = packed(entries)
    with pytest.MonkeyPatch.context() as monkeypatch:
        require_same(message + rest, monkeypatch)
        require_same(message[:length], monkeypatch)


@given(st.binary(max_size=40))
def test_any_bytes(message):
    with pytest.MonkeyPatch.context() as monkeypatch:
        require_same(message, monkeypatch)


def test_the_usual_request_of_a_robot_is_read_quickly():
    message = packed([("endpoint", "get_action"), ("client", "arm"), ("data", {"observation": {}})])
    request = envelope._usual_request(memoryview(message))
    assert request is not None
    assert (request.endpoint, request.client) == ("get_action", "arm")
    assert msgpack.unpackb(request.data) == {"observation": {}}
