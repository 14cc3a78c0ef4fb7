# SPDX-License-Identifier: Apache-2.0
"""Plain data, configs, dialects and classes of one's own, and what is refused."""

import json
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pytest
from array_checks import assert_same_array

from gr00t_policy_core import (
    Dialect,
    EmbodimentTag,
    EncodingError,
    ModalityConfig,
    MsgSerializer,
    ProtocolError,
    SpecError,
)

DIALECTS = ["n1d6", "n1d7"]


MARKERS = {"n1d6": "__ModalityConfig_class__", "n1d7": "__ModalityConfig__"}


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
    assert_same_array(decoded["a"], data["a"])
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
