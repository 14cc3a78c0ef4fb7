# SPDX-License-Identifier: Apache-2.0
"""Templates never change what a message means."""

import gc
import io
import random
import weakref
from typing import Any

import msgpack
import numpy as np
import pytest
from toy_policy import toy_observation

from gr00t_policy_core import Dialect, MsgSerializer, ProtocolError
from gr00t_policy_core.serving.wire import message_templates, serializer
from gr00t_policy_core.serving.wire.message_templates import (
    MAX_CONSTANT_BYTES,
    MAX_FIELDS,
    MAX_LENGTHS,
    TEMPLATES_PER_LENGTH,
    MessageTemplate,
    TemplateCache,
)
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_DEPTH, MAX_ITEMS

ARRAYS = {
    "video": np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(1, 2, 3, 4, 3),
    "state": np.linspace(-1, 1, 14, dtype=np.float32).reshape(1, 2, 7),
    "sizes of two bytes": np.zeros((1, 480, 3), np.uint8),
    "big endian": np.arange(5, dtype=">i4"),
    "0-d": np.array(2.5),
    "empty": np.zeros((0, 7), np.float32),
    "many dimensions": np.arange(4).reshape((1,) * 12 + (2, 2)),
}


@pytest.fixture(autouse=True)
def templates(monkeypatch: pytest.MonkeyPatch) -> TemplateCache:
    """No template is known."""
    known = TemplateCache()
    monkeypatch.setattr(serializer, "_TEMPLATES", known)
    return known


def known_by(templates: TemplateCache, message: bytes) -> MessageTemplate | None:
    """The template of a message, after it has come often enough."""
    for _ in range(2):
        MsgSerializer.from_bytes(message)
    return templates.find(memoryview(message))


def outcome(message: bytes) -> object:
    """What decoding gives, in a form that compares; the text where it is an error."""
    try:
        return repr(MsgSerializer.decode(message))
    except ProtocolError as error:
        return str(error)


def outcome_unknown(message: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patched:
        patched.setattr(serializer, "_TEMPLATES", TemplateCache())
        return outcome(message)


def request(observation: dict[str, Any], seconds: float = 0.5) -> dict[str, Any]:
    return {"observation": observation, "options": {"deadline_s": seconds, "seed": 1000, "x": None}}


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_the_same_whether_its_message_is_known_or_not(templates, dialect, name):
    array = ARRAYS[name]
    assert known_by(templates, MsgSerializer.to_bytes({"a": [array]}, dialect=dialect))
    for writable in (False, True):
        other = np.asarray(array + 1, array.dtype)  # another one that matches the template
        for sent in (array, other):
            message = MsgSerializer.to_bytes({"a": [sent]}, dialect=dialect)
            assert templates.find(memoryview(message)) is not None
            decoded = MsgSerializer.decode(message, writable=writable)
            (got,) = decoded.value["a"]
            np.testing.assert_array_equal(got, sent)
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
            assert got.flags.writeable == writable
            assert decoded.dialect is dialect
    assert len(templates) == 1


@pytest.mark.parametrize("number", [0.1, 1e300, float("nan"), 12345, -12345, 2**40, -(2**40)])
def test_another_number_of_the_same_width_matches_the_template(templates, number):
    assert known_by(templates, MsgSerializer.to_bytes({"n": [number, "text", True, b"\0"]}))
    message = MsgSerializer.to_bytes({"n": [number + 1, "text", True, b"\0"]})
    assert templates.find(memoryview(message)) is not None
    value, *rest = MsgSerializer.from_bytes(message)["n"]
    np.testing.assert_equal(value, number + 1)
    assert type(value) is type(number)
    assert rest == ["text", True, b"\0"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_known_message_is_no_copy_and_its_containers_are_its_own(templates, dialect):
    message = MsgSerializer.to_bytes(request(toy_observation()), dialect=dialect)
    assert known_by(templates, message)
    first, second = MsgSerializer.from_bytes(message), MsgSerializer.from_bytes(message)
    picture = first["observation"]["video"]["front"]
    assert np.shares_memory(picture, np.frombuffer(message, np.uint8))
    first["observation"]["language"].clear()
    first["options"]["seed"] = 0
    assert second["options"]["seed"] == 1000
    assert MsgSerializer.from_bytes(message)["observation"]["language"]


@pytest.mark.parametrize("dialect", Dialect)
def test_whatever_is_changed_in_a_known_message_is_read_as_if_nothing_was_known(
    templates, dialect, monkeypatch
):
    whole = MsgSerializer.to_bytes(request(toy_observation(1, 2, 3)), dialect=dialect)
    assert known_by(templates, whole)
    dice = random.Random(0)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] = dice.choice([0x00, 0x7F, 0xC0, 0xC4, 0xCA, 0xCB, 0xFF, changed[at] ^ 1])
        assert outcome(bytes(changed)) == outcome_unknown(bytes(changed), monkeypatch), at


@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_refused_is_refused_alike_once_the_template_is_known(templates, dialect):
    whole = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect=dialect)
    cut = [whole[:end] for end in range(len(whole))]
    before = [outcome(message) for message in cut]
    assert known_by(templates, whole)
    assert [outcome(message) for message in cut] == before
    assert "follow" in str(outcome(whole + b"\0"))


def test_limits_hold_for_what_comes_often(templates):
    array = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect="n1d7")[3:]
    for depth in range(MAX_DEPTH - 3, MAX_DEPTH + 2):
        nested = b"\x91" * depth + array
        assert len({outcome(nested) for _ in range(4)}) == 1
    count = MAX_ITEMS // 10  # a map of five entries, and the shape
    many = b"\xdd" + count.to_bytes(4, "big") + count * array
    assert all("items" in str(outcome(many)) for _ in range(4))


def test_an_array_in_fortran_order_keeps_it(templates):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    npy = io.BytesIO()
    np.save(npy, array)
    message = msgpack.packb({"__ndarray_class__": True, "as_npy": npy.getvalue()})
    assert known_by(templates, message)
    got = MsgSerializer.from_bytes(message)
    np.testing.assert_array_equal(got, array)
    assert got.flags.f_contiguous


def test_maps_that_only_look_like_arrays_stay_maps(templates):
    value = {"data": b"bytes", "as_npy": b"more", "type": 1000}
    message = msgpack.packb(value)
    assert [MsgSerializer.from_bytes(message) for _ in range(4)] == [value] * 4
    assert len(templates) == 1


@pytest.mark.parametrize(
    "value",
    [
        {"config": serializer.ModalityConfig([0], ["arm"])},
        {"scalar": np.float32(1.5)},
        {"extension": msgpack.ExtType(5, b"x")},
        {"long": "x" * MAX_CONSTANT_BYTES},
    ],
)
def test_a_message_that_is_not_plain_data_has_no_template(templates, value):
    message = MsgSerializer.to_bytes(value, dialect="n1d7")
    assert len({outcome(message) for _ in range(4)}) == 1
    assert len(templates) == 0


def test_arrays_of_both_dialects_have_no_template(templates):
    one, other = (MsgSerializer.to_bytes(ARRAYS["state"], dialect=d) for d in Dialect)
    message = b"\x92" + one + other
    assert known_by(templates, message) is None
    assert MsgSerializer.decode(message).dialect is None


def test_the_hook_of_a_subclass_sees_every_message(templates):
    seen = []

    class Hooked(MsgSerializer):
        @staticmethod
        def decode_custom_classes(obj: dict[Any, Any]) -> Any:
            seen.append(obj)
            return obj

    message = MsgSerializer.to_bytes({"a": 1.5})
    assert known_by(templates, message)
    for _ in range(3):
        Hooked.from_bytes(message)
    assert len(seen) == 3


def test_only_so_many_templates_are_kept(templates):
    for length in range(1, 3 * MAX_LENGTHS):
        for letter in "abcdefgh":
            MsgSerializer.from_bytes(MsgSerializer.to_bytes({letter: np.zeros(length)}))
    assert 0 < len(templates) <= MAX_LENGTHS * TEMPLATES_PER_LENGTH
    assert all(len(kept) <= TEMPLATES_PER_LENGTH for kept in templates._by_length.values())


def test_a_message_of_many_values_is_not_read_again_for_a_template(templates):
    """It has more constant bytes than a template holds, so none could be made of it."""
    wordy = b"\x81\xa1a" * (MAX_DEPTH - 2) + b"\xdd\x00\x01\x00\x00" + b"\x90" * 2**16
    reader = message_templates._SkeletonReader(
        memoryview(wordy), message_templates._FieldFinder(memoryview(wordy))
    )
    with pytest.raises(ProtocolError, match=r"too short|items"):
        reader.value()
    assert known_by(templates, wordy) is None


def test_the_template_that_was_learned_first_goes_first(templates):
    messages = [MsgSerializer.to_bytes({"a": np.zeros(n)}) for n in range(MAX_LENGTHS + 1, 0, -1)]
    assert all(known_by(templates, message) for message in messages)
    assert [templates.find(memoryview(message)) is None for message in messages] == [
        True,
        *[False] * MAX_LENGTHS,
    ]


def test_only_so_many_fields_are_kept(templates):
    assert known_by(templates, MsgSerializer.to_bytes([0.5] * MAX_FIELDS)) is not None
    assert known_by(templates, MsgSerializer.to_bytes([0.5] * (MAX_FIELDS + 1))) is None


def test_learning_keeps_nothing_of_a_message():
    """Not even until garbage is collected: a message may have hundreds of megabytes."""

    class Owner(bytearray):
        pass

    owner = Owner(MsgSerializer.to_bytes({"a": np.zeros(1000)}))
    freed = weakref.ref(owner)
    gc.disable()
    try:
        assert MessageTemplate.of(memoryview(owner)) is not None
        del owner
        assert freed() is None
    finally:
        gc.enable()
