# SPDX-License-Identifier: Apache-2.0
"""What decoding remembers of earlier messages never changes what a message means."""

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
from gr00t_policy_core.serving.wire import message_templates as forms_module
from gr00t_policy_core.serving.wire import serializer
from gr00t_policy_core.serving.wire.message_templates import (
    FORMS_PER_LENGTH,
    MAX_HOLES,
    MAX_LENGTHS,
    MAX_WORDS_BYTES,
    Form,
    Forms,
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
def forms(monkeypatch: pytest.MonkeyPatch) -> Forms:
    """Nothing is known."""
    known = Forms()
    monkeypatch.setattr(serializer, "_FORMS", known)
    return known


def known_by(forms: Forms, message: bytes) -> Form | None:
    """The form of a message, when it has come often enough."""
    for _ in range(2):
        MsgSerializer.from_bytes(message)
    return forms.find(memoryview(message))


def outcome(message: bytes) -> object:
    """What decoding gives, in a form that compares; the text where it is an error."""
    try:
        return repr(MsgSerializer.decode(message))
    except ProtocolError as error:
        return str(error)


def outcome_unknown(message: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patched:
        patched.setattr(serializer, "_FORMS", Forms())
        return outcome(message)


def request(observation: dict[str, Any], seconds: float = 0.5) -> dict[str, Any]:
    return {"observation": observation, "options": {"deadline_s": seconds, "seed": 1000, "x": None}}


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_the_same_whether_its_message_is_known_or_not(forms, dialect, name):
    array = ARRAYS[name]
    assert known_by(forms, MsgSerializer.to_bytes({"a": [array]}, dialect=dialect))
    for writable in (False, True):
        other = np.asarray(array + 1, array.dtype)  # another one of the same form
        for sent in (array, other):
            message = MsgSerializer.to_bytes({"a": [sent]}, dialect=dialect)
            assert forms.find(memoryview(message)) is not None
            decoded = MsgSerializer.decode(message, writable=writable)
            (got,) = decoded.value["a"]
            np.testing.assert_array_equal(got, sent)
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
            assert got.flags.writeable == writable
            assert decoded.dialect is dialect
    assert len(forms) == 1


@pytest.mark.parametrize("number", [0.1, 1e300, float("nan"), 12345, -12345, 2**40, -(2**40)])
def test_another_number_of_the_same_width_is_of_the_same_form(forms, number):
    assert known_by(forms, MsgSerializer.to_bytes({"n": [number, "text", True, b"\0"]}))
    message = MsgSerializer.to_bytes({"n": [number + 1, "text", True, b"\0"]})
    assert forms.find(memoryview(message)) is not None
    value, *rest = MsgSerializer.from_bytes(message)["n"]
    np.testing.assert_equal(value, number + 1)
    assert type(value) is type(number)
    assert rest == ["text", True, b"\0"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_known_message_is_no_copy_and_its_containers_are_its_own(forms, dialect):
    message = MsgSerializer.to_bytes(request(toy_observation()), dialect=dialect)
    assert known_by(forms, message)
    first, second = MsgSerializer.from_bytes(message), MsgSerializer.from_bytes(message)
    picture = first["observation"]["video"]["front"]
    assert np.shares_memory(picture, np.frombuffer(message, np.uint8))
    first["observation"]["language"].clear()
    first["options"]["seed"] = 0
    assert second["options"]["seed"] == 1000
    assert MsgSerializer.from_bytes(message)["observation"]["language"]


@pytest.mark.parametrize("dialect", Dialect)
def test_whatever_is_changed_in_a_known_message_is_read_as_if_nothing_was_known(
    forms, dialect, monkeypatch
):
    whole = MsgSerializer.to_bytes(request(toy_observation(1, 2, 3)), dialect=dialect)
    assert known_by(forms, whole)
    dice = random.Random(0)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] = dice.choice([0x00, 0x7F, 0xC0, 0xC4, 0xCA, 0xCB, 0xFF, changed[at] ^ 1])
        assert outcome(bytes(changed)) == outcome_unknown(bytes(changed), monkeypatch), at


@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_refused_is_refused_alike_once_the_form_is_known(forms, dialect):
    whole = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect=dialect)
    cut = [whole[:end] for end in range(len(whole))]
    before = [outcome(message) for message in cut]
    assert known_by(forms, whole)
    assert [outcome(message) for message in cut] == before
    assert "follow" in str(outcome(whole + b"\0"))


def test_limits_hold_for_what_comes_often(forms):
    array = MsgSerializer.to_bytes({"a": ARRAYS["state"]}, dialect="n1d7")[3:]
    for depth in range(MAX_DEPTH - 3, MAX_DEPTH + 2):
        nested = b"\x91" * depth + array
        assert len({outcome(nested) for _ in range(4)}) == 1
    count = MAX_ITEMS // 10  # a map of five entries, and the shape
    many = b"\xdd" + count.to_bytes(4, "big") + count * array
    assert all("items" in str(outcome(many)) for _ in range(4))


def test_an_array_in_fortran_order_keeps_it(forms):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    npy = io.BytesIO()
    np.save(npy, array)
    message = msgpack.packb({"__ndarray_class__": True, "as_npy": npy.getvalue()})
    assert known_by(forms, message)
    got = MsgSerializer.from_bytes(message)
    np.testing.assert_array_equal(got, array)
    assert got.flags.f_contiguous


def test_maps_that_only_look_like_arrays_stay_maps(forms):
    value = {"data": b"bytes", "as_npy": b"more", "type": 1000}
    message = msgpack.packb(value)
    assert [MsgSerializer.from_bytes(message) for _ in range(4)] == [value] * 4
    assert len(forms) == 1


@pytest.mark.parametrize(
    "value",
    [
        {"config": serializer.ModalityConfig([0], ["arm"])},
        {"scalar": np.float32(1.5)},
        {"extension": msgpack.ExtType(5, b"x")},
        {"long": "x" * MAX_WORDS_BYTES},
    ],
)
def test_a_message_that_is_no_plain_data_has_no_form(forms, value):
    message = MsgSerializer.to_bytes(value, dialect="n1d7")
    assert len({outcome(message) for _ in range(4)}) == 1
    assert len(forms) == 0


def test_arrays_of_both_dialects_have_no_form(forms):
    one, other = (MsgSerializer.to_bytes(ARRAYS["state"], dialect=d) for d in Dialect)
    message = b"\x92" + one + other
    assert known_by(forms, message) is None
    assert MsgSerializer.decode(message).dialect is None


def test_the_hook_of_a_subclass_sees_every_message(forms):
    seen = []

    class Hooked(MsgSerializer):
        @staticmethod
        def decode_custom_classes(obj: dict[Any, Any]) -> Any:
            seen.append(obj)
            return obj

    message = MsgSerializer.to_bytes({"a": 1.5})
    assert known_by(forms, message)
    for _ in range(3):
        Hooked.from_bytes(message)
    assert len(seen) == 3


def test_only_so_many_forms_are_kept(forms):
    for length in range(1, 3 * MAX_LENGTHS):
        for letter in "abcdefgh":
            MsgSerializer.from_bytes(MsgSerializer.to_bytes({letter: np.zeros(length)}))
    assert 0 < len(forms) <= MAX_LENGTHS * FORMS_PER_LENGTH
    assert all(len(kept) <= FORMS_PER_LENGTH for kept in forms._by_length.values())


def test_a_message_of_many_values_is_not_read_again_for_a_form(forms):
    """Its words are more than a form holds, so that every look for one would be in vain."""
    wordy = b"\x81\xa1a" * (MAX_DEPTH - 2) + b"\xdd\x00\x01\x00\x00" + b"\x90" * 2**16
    reader = forms_module._PlanReader(memoryview(wordy), forms_module._Holes(memoryview(wordy)))
    with pytest.raises(ProtocolError, match=r"too short|items"):
        reader.value()
    assert known_by(forms, wordy) is None


def test_the_form_that_was_learned_first_goes_first(forms):
    messages = [MsgSerializer.to_bytes({"a": np.zeros(n)}) for n in range(MAX_LENGTHS + 1, 0, -1)]
    assert all(known_by(forms, message) for message in messages)
    assert [forms.find(memoryview(message)) is None for message in messages] == [
        True,
        *[False] * MAX_LENGTHS,
    ]


def test_only_so_many_holes_are_kept(forms):
    assert known_by(forms, MsgSerializer.to_bytes([0.5] * MAX_HOLES)) is not None
    assert known_by(forms, MsgSerializer.to_bytes([0.5] * (MAX_HOLES + 1))) is None


def test_learning_keeps_nothing_of_a_message():
    """Not even until garbage is collected: a message may have hundreds of megabytes."""

    class Owner(bytearray):
        pass

    owner = Owner(MsgSerializer.to_bytes({"a": np.zeros(1000)}))
    freed = weakref.ref(owner)
    gc.disable()
    try:
        assert Form.of(memoryview(owner)) is not None
        del owner
        assert freed() is None
    finally:
        gc.enable()
