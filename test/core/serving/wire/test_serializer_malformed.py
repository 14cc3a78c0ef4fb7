# SPDX-License-Identifier: Apache-2.0
"""Malformed messages: each raises a `ProtocolError`, and nothing else happens."""

import io
import random
import tracemalloc
import zipfile

import msgpack
import numpy as np
import pytest
from malformed import MALFORMED, n1d6, npy, npz

from gr00t_policy_core import MsgSerializer, ProtocolError
from gr00t_policy_core.serving.wire.envelope import RequestReader
from gr00t_policy_core.serving.wire.serializer import MsgSerializer as Serializer


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_are_refused_with_what_is_wrong(name):
    message, says = MALFORMED[name]
    with pytest.raises(ProtocolError) as refused:
        MsgSerializer.from_bytes(message)
    assert says in str(refused.value)


def test_a_refused_array_is_named_by_the_keys_that_lead_to_it():
    message = msgpack.packb({"data": {"observation": {"video": {"front": {b"nd": True}}}}})
    with pytest.raises(ProtocolError, match=r"data\.observation\.video\.front"):
        MsgSerializer.from_bytes(message)


def test_announced_sizes_are_not_allocated():
    liars = [MALFORMED[name][0] for name in MALFORMED if "Gi" in name or "GB" in name]
    assert len(liars) == 6
    tracemalloc.start()
    try:
        for message in liars:
            with pytest.raises(ProtocolError):
                MsgSerializer.from_bytes(message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_not_opened(monkeypatch):
    def opened(*args, **kwargs):
        pytest.fail("the archive was opened")

    message = n1d6(npz())
    monkeypatch.setattr(zipfile.ZipFile, "__init__", opened)
    with pytest.raises(ProtocolError, match="zip"):
        MsgSerializer.from_bytes(message)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   \n",
        "{'shape': (2L,), 'fortran_order': False, 'descr': '<f4'}\n",
        "{ 'fortran_order' : False ,'descr':'<f4','shape':( 2 , )}",
    ],
)
def test_npy_headers_of_every_version_and_writer_are_read(version, header):
    data = np.array([1, 2], "<f4").tobytes()
    decoded = MsgSerializer.from_bytes(n1d6(npy(version=version, header=header, data=data)))
    assert decoded["x"].tolist() == [1, 2]


def test_npy_in_fortran_order_is_read():
    array = np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3))
    saved = io.BytesIO()
    np.save(saved, array)
    assert b"True" in saved.getvalue()
    decoded = MsgSerializer.from_bytes(n1d6(saved.getvalue()))["x"]
    np.testing.assert_array_equal(decoded, array)


def test_an_unrelated_map_with_a_key_nd_is_left_alone():
    data = {"nd": 3, "data": b"x"}
    assert MsgSerializer.from_bytes(msgpack.packb(data)) == data


@pytest.mark.parametrize("dialect", ["n1d6", "n1d7"])
@pytest.mark.parametrize("name", ["get_action_request", "get_modality_config_reply"])
def test_mutated_messages_raise_nothing_but_protocol_errors(golden, dialect, name):
    original = golden(dialect, name)
    if name == "get_action_request":
        original = _with_small_images(original, dialect)
    dice = random.Random(f"{dialect} {name}")
    refused = 0
    requests = RequestReader()
    for _ in range(3000):
        message = memoryview(_mutated(original, dice))
        for read in (MsgSerializer.from_bytes, requests.read):
            try:
                read(message)
            except ProtocolError:
                refused += 1
    assert refused > 1000


def _with_small_images(message, dialect):
    """Fewer pixels, so that most mutations hit structure."""
    request = MsgSerializer.from_bytes(message)
    video = request["data"]["observation"]["video"]
    request["data"]["observation"]["video"] = {k: v[:, :, :2, :2] for k, v in video.items()}
    return Serializer.to_bytes(request, dialect=dialect)


def _mutated(message, dice):
    mutated = bytearray(message)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(mutated))
        action = dice.randrange(5)
        if action == 0:
            mutated[at] = dice.randrange(256)
        elif action == 1:
            mutated[at] ^= 1 << dice.randrange(8)
        elif action == 2:
            del mutated[at : at + dice.randint(1, 8)]
        elif action == 3:
            mutated[at:at] = dice.randbytes(dice.randint(1, 8))
        else:
            start = dice.randrange(len(mutated))
            mutated[at : at + 8] = mutated[start : start + 8]
        if not mutated:
            mutated = bytearray(b"\xc1")
    return bytes(mutated)
