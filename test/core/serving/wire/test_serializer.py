# SPDX-License-Identifier: Apache-2.0
"""Messages of both lines: bytes that Isaac-GR00T wrote, and ours read by its rules."""

import io
import json
import tracemalloc
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pytest

from gr00t_policy_core import (
    ActionConfig,
    Dialect,
    EmbodimentTag,
    EncodingError,
    ModalityConfig,
    MsgSerializer,
    ProtocolError,
    SpecError,
)
from gr00t_policy_core.serving.wire.arrays import encode_array

MESSAGES = [
    f"{name}_{side}"
    for name in ("ping", "kill", "get_action", "reset", "get_modality_config")
    for side in ("request", "reply")
] + ["error_reply"]
DIALECTS = ["n1d6", "n1d7"]
MARKERS = {"n1d6": "__ModalityConfig_class__", "n1d7": "__ModalityConfig__"}

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
@pytest.mark.parametrize("name", MESSAGES)
def test_golden_messages_are_written_again_bit_for_bit(golden, dialect, name):
    message = golden(dialect, name)
    assert MsgSerializer.to_bytes(MsgSerializer.from_bytes(message), dialect=dialect) == message


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_observation_decodes_to_its_arrays(golden, golden_arrays, dialect):
    decoded = MsgSerializer.decode(golden(dialect, "get_action_request"))
    assert decoded.dialect is Dialect(dialect)
    data = decoded.value["data"]
    assert data["options"] is None
    observation = data["observation"]
    for modality in ("video", "state"):
        for key, array in observation[modality].items():
            _assert_same(array, golden_arrays[f"{modality}/{key}"])
    assert observation["language"] == {"annotation.human.task_description": [["pick up the apple"]]}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_action_decodes_to_its_arrays(golden, golden_arrays, dialect):
    action, info = MsgSerializer.from_bytes(golden(dialect, "get_action_reply"))
    assert info == {}
    assert set(action) == {"single_arm", "gripper"}
    for key, array in action.items():
        _assert_same(array, golden_arrays[f"action/{key}"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_modality_config_decodes(golden, dialect):
    decoded = MsgSerializer.decode(golden(dialect, "get_modality_config_reply"))
    assert decoded.dialect is Dialect(dialect)
    assert decoded.value["video"] == ModalityConfig([0], ["front", "wrist"])
    assert decoded.value["action"] == ModalityConfig(
        list(range(16)),
        ["single_arm", "gripper"],
        action_configs=[
            ActionConfig("RELATIVE", "NON_EEF", "DEFAULT"),
            ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT"),
        ],
    )


def test_a_message_without_arrays_shows_no_dialect(golden):
    assert MsgSerializer.decode(golden("n1d6", "ping_reply")).dialect is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", ["as_json", b"as_json"])
@pytest.mark.parametrize("form", [dict, json.dumps, lambda fields: json.dumps(fields).encode()])
def test_the_fields_of_a_config_are_a_map_or_json_as_text_or_bytes(golden, dialect, key, form):
    message = msgpack.unpackb(golden(dialect, "get_modality_config_reply"))
    expected = MsgSerializer.from_bytes(golden(dialect, "get_modality_config_reply"))
    for fields in message.values():
        fields[key] = form(fields.pop("as_json"))
    decoded = MsgSerializer.decode(msgpack.packb(message))
    assert decoded.value == expected
    assert decoded.dialect is Dialect(dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_marker_of_a_config_may_be_bytes(dialect):
    fields = {"delta_indices": [0], "modality_keys": ["front"]}
    message = msgpack.packb({MARKERS[dialect].encode(): True, b"as_json": json.dumps(fields)})
    decoded = MsgSerializer.decode(message)
    assert decoded.value == ModalityConfig([0], ["front"])
    assert decoded.dialect is Dialect(dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_survive(name, dialect):
    decoded = MsgSerializer.decode(MsgSerializer.to_bytes([ARRAYS[name]], dialect=dialect))
    _assert_same(decoded.value[0], ARRAYS[name])
    assert decoded.dialect is Dialect(dialect)


@pytest.mark.parametrize("name", ARRAYS)
def test_our_arrays_decode_by_the_rules_of_each_line(line, name):
    message = MsgSerializer.to_bytes({"a": ARRAYS[name]}, dialect=line.name)
    _assert_same(line.unpack(message)["a"], ARRAYS[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_each_line_decode_here(line, name):
    decoded = MsgSerializer.decode(line.pack({"a": ARRAYS[name]}))
    _assert_same(decoded.value["a"], ARRAYS[name])
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
def test_plain_data_survive(dialect):
    data = {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 127, 128, -33, 2**32, -(2**63), 2**64 - 1],
        "floats": [0.0, -1.5, float("inf"), 1e-300],
        "texts": ["", "ü" * 40, "x" * 300, "y" * 70_000],
        "bytes": [b"", b"\x00" * 300, b"z" * 70_000],
        "lists": [[], [[1]], list(range(20)), list(range(70_000))],
        "maps": {"": {}, **{str(i): i for i in range(20)}},
        "data": b"not an array",
        b"bytes key": "value",
        "timestamp": msgpack.Timestamp(5, 7),
        "ext": msgpack.ExtType(4, b"abc"),
    }
    assert MsgSerializer.from_bytes(MsgSerializer.to_bytes(data, dialect=dialect)) == data
    assert msgpack.unpackb(MsgSerializer.to_bytes(data)) == data
    assert MsgSerializer.from_bytes(msgpack.packb(data)) == data


def test_tuples_enums_and_buffers_are_sent_as_plain_data():
    data = {"tuple": (1, (2,)), "tag": EmbodimentTag.GR1, "text": np.str_("a")}
    data["buffers"] = [bytearray(b"ab"), memoryview(b"cd"), memoryview(b"abcdef")[::2]]
    assert MsgSerializer.from_bytes(MsgSerializer.to_bytes(data)) == {
        "tuple": [1, [2]],
        "tag": "gr1",
        "text": "a",
        "buffers": [b"ab", b"cd", b"ace"],
    }


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
    _assert_same(array, ARRAYS[name])


def test_without_a_dialect_configs_carry_both_markers_and_each_line_reads_them(line):
    config = ModalityConfig([0], ["front"])
    message = MsgSerializer.to_bytes({"video": config})
    assert line.unpack(message)["video"].modality_keys == ["front"]
    assert MsgSerializer.from_bytes(message) == {"video": config}
    assert MsgSerializer.decode(message).dialect is None


def test_in_a_dialect_configs_carry_its_marker_alone(line):
    message = MsgSerializer.to_bytes(ModalityConfig([0], ["front"]), dialect=line.name)
    assert MARKERS[line.name] in msgpack.unpackb(message)
    assert len(msgpack.unpackb(message)) == 2
    assert line.unpack(message).modality_keys == ["front"]


def test_without_a_dialect_arrays_are_written_in_n1d7():
    array = np.arange(3)
    assert MsgSerializer.to_bytes(array) == MsgSerializer.to_bytes(array, dialect="n1d7")


def test_arrays_of_both_dialects_in_one_message_show_no_dialect():
    both = [MsgSerializer.to_bytes(np.arange(3), dialect=dialect) for dialect in DIALECTS]
    decoded = MsgSerializer.decode(b"\x92" + b"".join(both))
    assert [array.tolist() for array in decoded.value] == [[0, 1, 2], [0, 1, 2]]
    assert decoded.dialect is None


def test_arrays_with_text_keys_are_read_too():
    fields = {"nd": True, "type": "<i2", "kind": "", "shape": [2], "data": b"\x01\x00\x02\x00"}
    assert MsgSerializer.from_bytes(msgpack.packb(fields)).tolist() == [1, 2]


def test_an_unknown_dialect_is_refused():
    with pytest.raises(SpecError, match="n1d8"):
        MsgSerializer.to_bytes({}, dialect="n1d8")


@dataclass
class Point:
    x: int
    y: bytes


class PointSerializer(MsgSerializer):
    """Sends points, and tells what its hooks were called with."""

    decoded: list[dict[Any, Any]] = []  # noqa: RUF012

    @staticmethod
    def encode_custom_classes(obj: Any) -> Any:
        if isinstance(obj, Point):
            return {"__point__": True, "x": obj.x, "data": obj.y}
        return MsgSerializer.encode_custom_classes(obj)

    @staticmethod
    def decode_custom_classes(obj: dict[Any, Any]) -> Any:
        PointSerializer.decoded.append(obj)
        if "__point__" in obj:
            return Point(obj["x"], obj["data"])
        return MsgSerializer.decode_custom_classes(obj)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_subclass_sends_classes_of_its_own_beside_ours(dialect):
    data = {"p": [Point(1, b"\x02")], "c": ModalityConfig([0], ["k"]), "a": np.arange(2)}
    PointSerializer.decoded.clear()
    decoded = PointSerializer.from_bytes(PointSerializer.to_bytes(data, dialect=dialect))
    assert decoded["p"] == [Point(1, b"\x02")]
    assert type(decoded["p"][0].y) is bytes
    assert decoded["c"] == data["c"]
    _assert_same(decoded["a"], data["a"])
    assert all("as_npy" not in obj and b"data" not in obj for obj in PointSerializer.decoded)


def test_a_hook_that_never_arrives_at_plain_data_is_an_error():
    class Endless(MsgSerializer):
        @staticmethod
        def encode_custom_classes(obj: Any) -> Any:
            return object()

    with pytest.raises(EncodingError, match="encode_custom_classes"):
        Endless.to_bytes(object())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.array([{}], dtype=object), "dtype object"),
        (np.zeros(2, dtype=[("a", "<f4")]), "dtype"),
        (np.array(["text"]), "dtype <U4"),
        (np.array([b"bytes"]), "dtype"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "datetime64"),
        (np.array([1j]), "complex"),
        (np.complex64(1j), "complex"),
        (object(), "object cannot be sent"),
        ({1, 2}, "set cannot be sent"),
        (2**64, "int cannot be sent"),
        ("\ud800", "str cannot be sent"),
        (1j, "complex cannot be sent"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_cannot_be_sent_is_named_with_the_keys_that_lead_to_it(value, says, dialect):
    data = {"data": {"observation": {"state": {"x": [value]}}}}
    with pytest.raises(EncodingError) as refused:
        MsgSerializer.to_bytes(data, dialect=dialect)
    assert str(refused.value).startswith("data.observation.state.x: ")
    assert says in str(refused.value)


def test_map_keys_must_be_text_because_no_peer_reads_others():
    with pytest.raises(EncodingError, match=r"data: map keys must be str, got int 3"):
        MsgSerializer.to_bytes({"data": {3: "x"}})


def test_data_that_hold_themselves_are_refused():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodingError, match="levels deep"):
        MsgSerializer.to_bytes({"a": endless})


def test_data_as_deep_as_we_write_can_be_read():
    nested: Any = 1
    for _ in range(64):
        nested = [nested]
    assert MsgSerializer.from_bytes(MsgSerializer.to_bytes(nested)) == nested
    with pytest.raises(EncodingError, match="deep"):
        MsgSerializer.to_bytes([nested])
    with pytest.raises(ProtocolError, match="deep"):
        MsgSerializer.from_bytes(b"\x91" + MsgSerializer.to_bytes(nested))


def _assert_same(actual: Any, expected: Any) -> None:
    assert isinstance(actual, np.ndarray)
    assert actual.dtype == expected.dtype
    assert actual.dtype.byteorder == expected.dtype.byteorder
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


def _peak_bytes(action: Any) -> int:
    action()  # what is cached is not counted
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
