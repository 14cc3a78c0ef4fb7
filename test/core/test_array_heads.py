# SPDX-License-Identifier: Apache-2.0
"""What decoding remembers of arrays never changes what a message means."""

import io

import msgpack
import numpy as np
import pytest

from gr00t_policy_core import Dialect, MsgSerializer, ProtocolError
from gr00t_policy_core.serving import serializer
from gr00t_policy_core.serving.array_heads import KEPT_HEADS, ArrayHeads
from gr00t_policy_core.serving.reader import MAX_DEPTH, MAX_ITEMS

ARRAYS = {
    "video": np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(1, 2, 3, 4, 3),
    "state": np.linspace(-1, 1, 14, dtype=np.float32).reshape(1, 2, 7),
    "big endian": np.arange(5, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "0-d": np.array(2.5),
    "empty": np.zeros((0, 7), np.float32),
    "many dimensions": np.arange(4).reshape((1,) * 12 + (2, 2)),
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> ArrayHeads:
    heads = ArrayHeads()
    monkeypatch.setattr(serializer, "_ARRAY_HEADS", heads)
    return heads


def outcome(message: bytes) -> object:
    """What decoding gives, in a form that compares; the text where it is an error."""
    try:
        return repr(MsgSerializer.from_bytes(message))
    except ProtocolError as error:
        return str(error)


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_the_same_whether_its_head_is_known_or_not(dialect, name):
    array = ARRAYS[name]
    for writable in (False, False, True):
        other = np.asarray(array + 1, array.dtype)  # another one with the same head
        for sent in (array, other):
            message = MsgSerializer.to_bytes({"a": [sent]}, dialect=dialect)
            decoded = MsgSerializer.decode(message, writable=writable)
            (got,) = decoded.value["a"]
            np.testing.assert_array_equal(got, sent)
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
            assert got.flags.writeable == writable
            assert decoded.dialect is dialect


@pytest.mark.parametrize("dialect", Dialect)
def test_a_known_head_is_no_copy(dialect):
    message = MsgSerializer.to_bytes({"a": ARRAYS["video"]}, dialect=dialect)
    for _ in range(2):
        assert np.shares_memory(
            MsgSerializer.from_bytes(message)["a"], np.frombuffer(message, np.uint8)
        )


@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_refused_is_refused_alike_once_the_head_is_known(dialect):
    whole = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect=dialect)
    cut = [whole[:end] for end in range(len(whole))]
    before = [outcome(message) for message in cut]
    outcome(whole)
    assert [outcome(message) for message in cut] == before


@pytest.mark.parametrize("dialect", Dialect)
def test_arrays_at_the_depth_limit_are_read_alike_once_their_head_is_known(dialect):
    message = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect=dialect)[3:]
    nested = [b"\x91" * depth + message for depth in range(MAX_DEPTH - 3, MAX_DEPTH + 2)]
    before = [outcome(each) for each in nested]
    outcome(message)
    assert [outcome(each) for each in nested] == before
    assert len(set(map(type, before))) == 1
    assert any("levels deep" in str(each) for each in before)


def test_an_array_in_fortran_order_keeps_it_once_its_head_is_known():
    npy = io.BytesIO()
    np.save(npy, ARRAYS["fortran"])
    message = msgpack.packb({"__ndarray_class__": True, "as_npy": npy.getvalue()})
    for _ in range(2):
        got = MsgSerializer.from_bytes(message)
        np.testing.assert_array_equal(got, ARRAYS["fortran"])
        assert got.flags.f_contiguous


def test_the_values_in_known_arrays_count_too():
    array = MsgSerializer.to_bytes(ARRAYS["state"], dialect="n1d7")
    outcome(array)
    count = MAX_ITEMS // 10  # a map of five entries, and the shape
    message = b"\xdd" + count.to_bytes(4, "big") + count * array
    assert "items" in str(outcome(message))


def test_only_so_many_heads_are_kept(nothing_known):
    for length in range(1, 3 * KEPT_HEADS):
        MsgSerializer.from_bytes(MsgSerializer.to_bytes(np.zeros(length), dialect="n1d7"))
        assert len(nothing_known._known) <= KEPT_HEADS
