# SPDX-License-Identifier: Apache-2.0
"""What holds for arbitrary bytes: the fixed corpus, and what hypothesis generates.

`make fuzz` holds the same of messages that reach further and further into the code.
"""

import json

import msgpack
import numpy as np
import pytest
import zmq

hypothesis = pytest.importorskip("hypothesis", reason="makes up the messages of these tests")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.fuzz import SIZE, exchange, valid_messages  # noqa: E402
from bench.fuzz_decoder import UnsoundError, fixed_corpus, require_sound  # noqa: E402
from gr00t_policy_core.serving.wire.serializer import MsgSerializer  # noqa: E402

SETTINGS = settings(
    deadline=None,
    max_examples=400,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def npy(header: str, data: bytes, version: int) -> bytes:
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


DATA = st.binary(max_size=48)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, -1, 2**31, 2**63]), max_size=5)
TYPES = st.sampled_from(["<f4", "|u1", "|b1", ">i8", "<f2", "|O", "<U4", "<f3", "bool", "", "V8"])
HEADERS = st.builds(
    lambda type_, order, shape, tail: (
        f"{{'descr': '{type_}', 'fortran_order': {order}, 'shape': {tuple(shape)}, }}{tail}"
    ),
    TYPES,
    st.booleans(),
    SHAPES,
    st.sampled_from(["\n", "", " " * 70, "}"]),
)


def as_text(fields):
    """JSON, as some peers write a modality config's fields."""
    return json.dumps(fields, default=str)


# What looks like an array, a picture or a config, and mostly is none.
ALMOST = st.one_of(
    st.fixed_dictionaries(
        {b"nd": st.booleans() | st.none()},
        optional={b"type": TYPES, b"kind": st.sampled_from([b"", "", b"O", b"V"])}
        | {b"shape": SHAPES, b"data": DATA},
    ),
    st.fixed_dictionaries(
        {"nd": st.booleans(), "type": TYPES, "data": DATA}, optional={"shape": SHAPES}
    ),
    st.builds(
        lambda npy, scalar: {"__ndarray_class__": True, "as_npy": npy, "scalar": scalar},
        st.builds(npy, HEADERS, DATA, st.integers(1, 4)) | DATA,
        st.booleans(),
    ),
    st.fixed_dictionaries(
        {"__jpeg__": st.booleans(), "shape": SHAPES, "frames": st.lists(DATA, max_size=3)}
    ),
    st.builds(
        lambda marker, form, fields: {marker: True, "as_json": form(fields)},
        st.sampled_from(["__ModalityConfig__", "__ModalityConfig_class__"]),
        st.sampled_from([lambda fields: fields, as_text, lambda fields: as_text(fields).encode()]),
        st.fixed_dictionaries(
            {
                "delta_indices": st.lists(st.integers(-2, 40), max_size=3),
                "modality_keys": st.lists(st.text(max_size=3), max_size=3),
            },
            optional={"action_configs": st.lists(st.none() | st.dictionaries(st.text(), DATA))},
        ),
    ),
)
KEYS = st.sampled_from(["observation", "options", "video", "state", "language", "data", "arm", ""])
VALUES = st.recursive(
    ALMOST | st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
REQUESTS = st.fixed_dictionaries(
    {"endpoint": st.sampled_from(["get_action", "reset", "metrics", "nope"]) | VALUES},
    optional={"data": VALUES, "envelope": VALUES, "api_token": VALUES},
)


@pytest.mark.parametrize("message", fixed_corpus(), ids=lambda message: repr(message[:24]))
def test_the_fixed_corpus_is_sound(message):
    require_sound(message)


@SETTINGS
@given(value=REQUESTS | VALUES)
def test_what_almost_looks_right_is_sound(value):
    require_sound(msgpack.packb(value))


@SETTINGS
@given(data=st.data())
def test_valid_messages_with_a_part_replaced_are_sound(data):
    message = data.draw(st.sampled_from(valid_messages()))
    start = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(start, min(start + 16, len(message))))
    require_sound(message[:start] + data.draw(st.binary(max_size=16)) + message[end:])


@SETTINGS
@given(value=REQUESTS)
def test_a_server_answers_whatever_almost_looks_right(server, sockets, value):
    dealer = sockets.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{server.port}")
    exchange(dealer, msgpack.packb(value))
    dealer.close(linger=0)


def test_reading_that_is_not_sound_is_noticed(monkeypatch):
    picture = np.zeros((1, 1, SIZE.height, SIZE.width, 3), np.uint8)
    message = MsgSerializer.to_bytes({"video": picture})
    require_sound(message)
    monkeypatch.setattr(MsgSerializer, "decode_custom_classes", lambda fields: {"x": fields})
    with pytest.raises(UnsoundError):
        require_sound(message)
    monkeypatch.setattr(MsgSerializer, "decode_custom_classes", lambda fields: fields["nope"])
    with pytest.raises(KeyError):
        require_sound(message)
