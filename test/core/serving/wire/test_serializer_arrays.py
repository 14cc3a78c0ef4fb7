# SPDX-License-Identifier: Apache-2.0
"""Arrays and numbers of NumPy: their bytes on the wire, and the memory that they take."""

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from array_checks import assert_same_array

from gr00t_policy_core import (
    Dialect,
    MsgSerializer,
)
from gr00t_policy_core.serving.wire.arrays import encode_array

DIALECTS = ["n1d6", "n1d7"]


ARRAYS = {
    "image": np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3),
    "big_endian": np.array([1.5, -2.0, 3e9], dtype=">f4"),
    "strided": np.arange(24, dtype=np.int16).reshape(4, 6)[::2, ::3],
    "reversed": np.arange(5, dtype=np.int64)[::-1],
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "transposed_view": np.arange(6, dtype=np.uint32).reshape(2, 3).T,
    "empty": np.zeros((3, 0, 2), dtype=np.float32),
    "zero_dimensional": np.array(2.5, dtype=np.float32),
    "bool": np.array([[True, False], [False, True]]),
    "float16": np.array([0.5, np.inf, -np.inf], dtype=np.float16),
    "uint64": np.array([2**64 - 1], dtype=np.uint64),
    "nan": np.array([np.nan, 1.0]),
}


SCALARS = [
    np.float64(0.1),
    np.float32(0.1),
    np.float16(0.5),
    np.int8(-3),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.bool_(False),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_survive(name, dialect):
    decoded = MsgSerializer.decode(MsgSerializer.to_bytes([ARRAYS[name]], dialect=dialect))
    assert_same_array(decoded.value[0], ARRAYS[name])
    assert decoded.dialect is Dialect(dialect)


@pytest.mark.parametrize("name", ARRAYS)
def test_our_arrays_decode_by_the_rules_of_each_line(line, name):
    message = MsgSerializer.to_bytes({"a": ARRAYS[name]}, dialect=line.name)
    assert_same_array(line.unpack(message)["a"], ARRAYS[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_each_line_decode_here(line, name):
    decoded = MsgSerializer.decode(line.pack({"a": ARRAYS[name]}))
    assert_same_array(decoded.value["a"], ARRAYS[name])
    assert decoded.dialect is Dialect(line.name)


@pytest.mark.parametrize("name", ARRAYS)
def test_our_contiguous_arrays_are_the_very_bytes_of_each_line(line, name):
    array = np.array(ARRAYS[name], order="C")
    assert MsgSerializer.to_bytes([array], dialect=line.name) == line.pack([array])


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: type(s).__name__)
def test_numpy_scalars_survive_with_their_type(scalar, dialect):
    decoded = MsgSerializer.from_bytes(MsgSerializer.to_bytes({"s": scalar}, dialect=dialect))
    assert type(decoded["s"]) is type(scalar)
    assert decoded["s"] == scalar


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: type(s).__name__)
def test_our_numpy_scalars_keep_their_value_by_the_rules_of_each_line(line, scalar):
    received = line.unpack(MsgSerializer.to_bytes({"s": scalar}, dialect=line.name))["s"]
    assert received == scalar
    assert received.dtype == scalar.dtype


@pytest.mark.parametrize("dialect", DIALECTS)
def test_decoding_copies_no_array(dialect):
    array = np.arange(1000, dtype=np.float32)
    message = MsgSerializer.to_bytes({"a": array}, dialect=dialect)
    decoded = MsgSerializer.from_bytes(message)["a"]
    assert np.shares_memory(decoded, np.frombuffer(message, np.uint8))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_decoding_a_large_array_allocates_almost_nothing(dialect):
    message = MsgSerializer.to_bytes({"a": np.zeros(8_000_000, np.uint8)}, dialect=dialect)
    assert _peak_bytes(lambda: MsgSerializer.from_bytes(message)) < 100_000


@pytest.mark.parametrize("dialect", DIALECTS)
def test_encoding_a_large_array_makes_no_copy_beside_the_message(dialect):
    array = np.zeros(8_000_000, np.uint8)
    assert _peak_bytes(lambda: MsgSerializer.to_bytes({"a": array}, dialect=dialect)) < 12_000_000


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_array_is_written_from_its_own_memory(dialect):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    _, data = encode_array(array, dialect)
    assert np.shares_memory(data, array)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (1, 16, 7), (12345, 1), (1,) * 32])
@pytest.mark.parametrize("dtype", ["<f4", ">i8", "|u1", "|b1"])
def test_an_npy_header_is_the_one_that_numpy_reads(shape, dtype):
    array = np.zeros(shape, dtype)
    prefix, _ = encode_array(array, Dialect.N1D6)
    npy = prefix[prefix.index(b"\x93NUMPY") :] + array.tobytes()
    read = np.load(io.BytesIO(npy), allow_pickle=False)
    assert (read.shape, read.dtype) == (array.shape, array.dtype)
    assert len(npy) % 64 == array.nbytes % 64


def test_decoded_arrays_are_read_only_and_keep_the_message_alive():
    array = MsgSerializer.from_bytes(bytearray(MsgSerializer.to_bytes(np.arange(5))))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    assert array.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ARRAYS)
def test_decoded_arrays_are_writable_copies_when_asked(name, dialect):
    message = MsgSerializer.to_bytes(ARRAYS[name], dialect=dialect)
    array = MsgSerializer.from_bytes(message, writable=True)
    assert array.flags.writeable
    assert not np.shares_memory(array, np.frombuffer(message, np.uint8))
    assert_same_array(array, ARRAYS[name])


def _peak_bytes(action: Any) -> int:
    action()  # what is cached is not counted
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
