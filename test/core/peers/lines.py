# SPDX-License-Identifier: Apache-2.0
"""The bytes of both lines: msgpack with np.save / np.load (N1.6), and msgpack-numpy (N1.7)."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pytest


@dataclass
class PeerConfig:
    """A modality config; an entry that Isaac-GR00T does not know is a TypeError, as there."""

    delta_indices: list
    modality_keys: list
    sin_cos_embedding_keys: list | None = None
    mean_std_embedding_keys: list | None = None
    action_configs: list | None = None


@dataclass(frozen=True)
class Line:
    """How one line of Isaac-GR00T turns messages into bytes and back."""

    name: str
    config_marker: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


def n1d6() -> Line:
    marker = "__ModalityConfig_class__"

    def encode(obj):
        if isinstance(obj, PeerConfig):
            return {marker: True, "as_json": vars(obj)}
        if isinstance(obj, np.ndarray):
            npy = io.BytesIO()
            np.save(npy, obj, allow_pickle=False)
            return {"__ndarray_class__": True, "as_npy": npy.getvalue()}
        return obj

    def decode(obj):
        if marker in obj:
            return PeerConfig(**obj["as_json"])
        if "__ndarray_class__" in obj:
            return np.load(io.BytesIO(obj["as_npy"]), allow_pickle=False)
        return obj

    return Line(
        "n1d6",
        marker,
        lambda data: msgpack.packb(data, default=encode),
        lambda message: msgpack.unpackb(message, object_hook=decode),
    )


def n1d7() -> Line:
    msgpack_numpy = pytest.importorskip("msgpack_numpy", reason="the oracle of N1.7's messages")
    marker = "__ModalityConfig__"

    def encode(obj):
        if isinstance(obj, PeerConfig):
            return {marker: True, "as_json": vars(obj)}
        return msgpack_numpy.encode(obj)

    def decode(obj):
        decoded = msgpack_numpy.decode(obj)
        if isinstance(decoded, dict) and marker in decoded:
            return PeerConfig(**decoded["as_json"])
        return decoded

    return Line(
        "n1d7",
        marker,
        lambda data: msgpack.packb(data, default=encode),
        lambda message: msgpack.unpackb(message, object_hook=decode, raw=False),
    )


LINES = {"n1d6": n1d6, "n1d7": n1d7}
