# SPDX-License-Identifier: Apache-2.0
"""For all data: what is encoded decodes to the same, and is valid msgpack."""

import math

import msgpack
import numpy as np
import pytest

from gr00t_policy_core import Dialect, MsgSerializer, ProtocolError

hypothesis = pytest.importorskip("hypothesis", reason="makes up the data of these tests")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as arrays_of  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=150, derandomize=True)

DTYPES = st.one_of(
    arrays_of.boolean_dtypes(),
    arrays_of.integer_dtypes(endianness="?"),
    arrays_of.unsigned_integer_dtypes(endianness="?"),
    arrays_of.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(
        dtype, arrays_of.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4)
    )
)
INTS = st.integers(-(2**63), 2**64 - 1)
KEYS = st.text().filter(lambda key: not key.startswith("__") and key != "nd")
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=30,
)
DIALECTS = st.sampled_from(list(Dialect))


@SETTINGS
@given(array=ARRAYS, dialect=DIALECTS, reverse=st.booleans())
def test_every_array_survives(array, dialect, reverse):
    array = array.T if reverse else array
    decoded = MsgSerializer.from_bytes(MsgSerializer.to_bytes({"a": array}, dialect=dialect))["a"]
    assert decoded.dtype == array.dtype
    assert decoded.shape == array.shape
    np.testing.assert_array_equal(decoded, array)


@SETTINGS
@given(array=ARRAYS, dialect=DIALECTS)
def test_every_scalar_survives(array, dialect):
    for scalar in array.reshape(-1)[:3]:
        native = scalar.astype(scalar.dtype.newbyteorder("="))
        decoded = MsgSerializer.from_bytes(MsgSerializer.to_bytes(native, dialect=dialect))
        assert type(decoded) is type(native)
        assert decoded == native or (math.isnan(decoded) and math.isnan(native))


@SETTINGS
@given(data=PLAIN, dialect=DIALECTS)
def test_plain_data_are_those_of_msgpack_itself(data, dialect):
    ours = MsgSerializer.to_bytes(data, dialect=dialect)
    assert ours == msgpack.packb(data)
    assert MsgSerializer.from_bytes(ours) == data


@SETTINGS
@given(message=st.binary(max_size=200))
def test_noise_is_a_value_or_a_protocol_error(message):
    try:
        ours = MsgSerializer.from_bytes(message)
    except ProtocolError:
        return
    assert isinstance(ours, np.ndarray) or repr(ours) == repr(msgpack.unpackb(message))
