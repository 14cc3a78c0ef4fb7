# SPDX-License-Identifier: Apache-2.0
"""How arrays, numpy scalars and modality configs lie in a message, in both dialects.

======  =====================================================  ==============================
        array                                                  modality config
======  =====================================================  ==============================
n1d6    ``{"__ndarray_class__": true, "as_npy": npy bytes}``   ``__ModalityConfig_class__``
n1d7    ``{b"nd": true, b"type": "<f4", b"kind": b"",          ``__ModalityConfig__``
        b"shape": [...], b"data": bytes}`` (msgpack-numpy)
======  =====================================================  ==============================

n1d6 is Isaac-GR00T N1.6, and N1.7 until May 2026; n1d7 is N1.7 since then. Only booleans,
integers and real floats pass in either direction: object arrays are pickles and are refused.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import EncodingError, ProtocolError, SpecError
from gr00t_policy_core.modality import ModalityConfig

AnyArray: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

ARRAY_KINDS = "biuf"
MAX_RANK = 32  # numpy 1.x holds no more
MAX_NPY_HEADER_BYTES = 4096
MAX_BIN_BYTES = 2**32 - 1  # msgpack's bin 32

# Values under these keys may be array data, which decoding must not copy.
PAYLOAD_KEYS: frozenset[str | bytes] = frozenset({"as_npy", b"data", "data"})

_NPY_MAGIC = b"\x93NUMPY"
_NPY_ENTRY = re.compile(
    rb"\s*'(descr|fortran_order|shape)'\s*:\s*"
    rb"('[^'\\]*'|True|False|\(\s*(?:\d+L?\s*,\s*)*(?:\d+L?\s*)?\))\s*(?:,|$)"
)
_TYPE_STRING = re.compile(r"[<>|=]?[biuf][0-9]{1,2}|bool|u?int(8|16|32|64)|float(16|32|64)")


class Dialect(str, Enum):
    """Which line of Isaac-GR00T a peer speaks."""

    N1D6 = "n1d6"
    N1D7 = "n1d7"


CONFIG_MARKERS = {
    Dialect.N1D6: "__ModalityConfig_class__",
    Dialect.N1D7: "__ModalityConfig__",
}
MAX_CONFIG_TEXT = 2**20  # a real one has about two thousand
_CONFIG_MARKERS = frozenset(
    spelling for marker in CONFIG_MARKERS.values() for spelling in (marker, marker.encode())
)


def bin_header(size: int) -> bytes:
    """The msgpack header of `size` bytes of binary data."""
    if size < 2**8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 2**16:
        return b"\xc5" + size.to_bytes(2, "big")
    if size <= MAX_BIN_BYTES:
        return b"\xc6" + size.to_bytes(4, "big")
    raise EncodingError(f"{size} bytes are more than one message can hold ({MAX_BIN_BYTES})")


def encode_array(array: AnyArray | np.generic, dialect: Dialect) -> tuple[bytes, AnyArray]:
    """Split an array or numpy scalar into what precedes its data, and the data.

    Args:
        array: Any shape, strides and byte order.
        dialect: The form to write.

    Returns:
        The bytes before the data, and an array whose own memory is the data: `array` itself
        unless it was not C-contiguous.

    Raises:
        EncodingError: A dtype that is not bool, integer or real float; 4 GiB or more.
    """
    if array.dtype.kind not in ARRAY_KINDS:
        raise EncodingError(
            f"an array of dtype {array.dtype} cannot be sent; convert it to a bool, integer or "
            "float dtype"
        )
    scalar = not isinstance(array, np.ndarray)
    data = array if type(array) is np.ndarray else np.asarray(array)
    if not data.flags.c_contiguous:
        data = np.ascontiguousarray(data)
    return _array_prefix(dialect, data.dtype.str, data.shape, scalar), data


@lru_cache(maxsize=512)
def _array_prefix(dialect: Dialect, type_string: str, shape: Shape, scalar: bool) -> bytes:
    size = np.dtype(type_string).itemsize * math.prod(shape)
    fields: dict[Any, Any]
    if dialect is Dialect.N1D6:
        npy_header = _npy_header(type_string, shape)
        # Isaac-GR00T ignores "scalar" and reads a 0-d array.
        fields = {"__ndarray_class__": True, **({"scalar": True} if scalar else {})}
        return _map_prefix(fields, "as_npy") + bin_header(len(npy_header) + size) + npy_header
    if scalar:
        fields = {b"nd": False, b"type": type_string}
    else:
        fields = {b"nd": True, b"type": type_string, b"kind": b"", b"shape": shape}
    return _map_prefix(fields, b"data") + bin_header(size)


def _map_prefix(fields: Mapping[Any, Any], last_key: str | bytes) -> bytes:
    """A map of `fields` and one more entry, up to where that entry's value begins."""
    header: bytes = msgpack.Packer().pack_map_header(len(fields) + 1)
    entries = [msgpack.packb(part) for entry in fields.items() for part in entry]
    return b"".join([header, *entries, msgpack.packb(last_key)])


def _npy_header(type_string: str, shape: Shape) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": type_string, "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def decode_array(fields: Mapping[Any, Any]) -> tuple[AnyArray | np.generic, Dialect] | None:
    """Build the array that a decoded map stands for, without copying its data.

    Args:
        fields: The map; array data in it are read-only memoryviews.

    Returns:
        A read-only array on the memory of the data (or a numpy scalar) and the dialect that it
        was written in; None where the map is no array.

    Raises:
        ProtocolError: The map is marked as an array but is malformed, of a refused kind, or
            announces another size than its data have.
    """
    if "__ndarray_class__" in fields:
        array = _decode_npy(_data(fields, "as_npy"))
        scalar = fields.get("scalar") is True and array.ndim == 0
        return (array[()] if scalar else array), Dialect.N1D6
    if b"nd" in fields or "nd" in fields:
        return _decode_nd(fields)
    return None


def _decode_nd(fields: Mapping[Any, Any]) -> tuple[AnyArray | np.generic, Dialect] | None:
    """The msgpack-numpy form; keys are bytes, or str where the writer had no bin type."""
    kind = fields.get(b"kind", fields.get("kind"))
    if isinstance(kind, (str, bytes)) and kind in (b"O", "O"):
        raise ProtocolError("object arrays are pickles and are refused")
    if isinstance(kind, (str, bytes)) and kind in (b"V", "V"):
        raise ProtocolError("structured arrays are refused")
    if b"nd" not in fields and not {"type", "data"} <= fields.keys():
        return None
    marker = fields.get(b"nd", fields.get("nd"))
    dtype = _dtype(fields.get(b"type", fields.get("type")))
    data = _data(fields, b"data" if b"data" in fields else "data")
    if marker is True:
        shape = _shape(fields.get(b"shape", fields.get("shape")))
        return _view(data, dtype, shape), Dialect.N1D7
    if marker is False:
        return _view(data, dtype, ())[()], Dialect.N1D7
    raise ProtocolError(f"an array's 'nd' must be true or false, got {type(marker).__name__}")


def _data(fields: Mapping[Any, Any], key: str | bytes) -> memoryview:
    data = fields.get(key)
    if not isinstance(data, memoryview):
        raise ProtocolError(f"an array needs binary data under {key!r}, got {_name(data)}")
    return data


def _decode_npy(npy: memoryview) -> AnyArray:
    magic = bytes(npy[:6])
    if magic.startswith(b"PK"):
        raise ProtocolError(".npz (zip) archives are refused; send one .npy per array")
    if magic.startswith(b"\x80"):
        raise ProtocolError("pickles are refused")
    if magic != _NPY_MAGIC or len(npy) < 10:
        raise ProtocolError("not the bytes of an .npy file")
    if npy[6] not in (1, 2, 3):
        raise ProtocolError(f".npy version {npy[6]} is unknown (1 to 3 are read)")
    header_at = 10 if npy[6] == 1 else 12
    data_at = header_at + int.from_bytes(npy[8:header_at], "little")
    if data_at > len(npy):
        raise ProtocolError(f".npy header of {data_at} bytes announced, {len(npy)} are there")
    if data_at > MAX_NPY_HEADER_BYTES:
        raise ProtocolError(f".npy header of {data_at} bytes; {MAX_NPY_HEADER_BYTES} at most")
    dtype, fortran_order, shape = _npy_fields(bytes(npy[header_at:data_at]))
    return _view(npy[data_at:], dtype, shape, fortran_order)


@lru_cache(maxsize=256)
def _npy_fields(header: bytes) -> tuple[np.dtype[Any], bool, Shape]:
    """Read ``{'descr': …, 'fortran_order': …, 'shape': …}`` without evaluating it."""
    text = header.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise ProtocolError("malformed .npy header")
    body = text[1:-1].strip()
    found: dict[bytes, str] = {}
    at = 0
    while at < len(body):
        entry = _NPY_ENTRY.match(body, at)
        if entry is None or entry[1] in found:
            raise ProtocolError("malformed .npy header, or one of a structured dtype")
        found[entry[1]] = entry[2].decode("latin-1")
        at = entry.end()
    if len(found) != 3:
        raise ProtocolError(".npy header without descr, fortran_order or shape")
    descr, order, shape = found[b"descr"], found[b"fortran_order"], found[b"shape"]
    if not (descr.startswith("'") and shape.startswith("(") and order in ("True", "False")):
        raise ProtocolError("malformed .npy header")
    sizes = [int(size.strip().rstrip("L")) for size in shape[1:-1].split(",") if size.strip()]
    return _dtype(descr[1:-1]), order == "True", _shape(sizes)


@lru_cache(maxsize=64)
def _known_dtype(type_string: str) -> np.dtype[Any]:
    return np.dtype(type_string)


def _dtype(type_string: Any) -> np.dtype[Any]:
    if not isinstance(type_string, str):
        raise ProtocolError(f"an array's type must be a string, got {_name(type_string)}")
    if not _TYPE_STRING.fullmatch(type_string):
        raise ProtocolError(
            f"arrays of dtype {type_string[:40]!r} are refused: only bool, integer and float pass"
        )
    try:
        return _known_dtype(type_string)
    except TypeError:
        raise ProtocolError(f"unknown dtype {type_string!r}") from None


def _shape(sizes: Any) -> Shape:
    if not isinstance(sizes, list) or any(type(size) is not int or size < 0 for size in sizes):
        raise ProtocolError("an array's shape must be a list of sizes of zero or more")
    if len(sizes) > MAX_RANK:
        raise ProtocolError(f"an array of {len(sizes)} dimensions; {MAX_RANK} at most")
    return tuple(sizes)


def _view(
    data: memoryview, dtype: np.dtype[Any], shape: Shape, fortran_order: bool = False
) -> AnyArray:
    announced = math.prod(shape) * dtype.itemsize
    if announced != data.nbytes:
        raise ProtocolError(
            f"an array of shape {shape} and dtype {dtype} takes {announced} bytes, "
            f"{data.nbytes} came"
        )
    try:
        return np.ndarray(shape, dtype, buffer=data, order="F" if fortran_order else "C")
    except ValueError as error:  # an empty array with an enormous side
        raise ProtocolError(f"an array of shape {shape} cannot be built: {error}") from None


def with_own_bytes(fields: dict[Any, Any]) -> dict[Any, Any]:
    """A decoded map that is no array: what looked like an array's data becomes bytes."""
    for key in PAYLOAD_KEYS & fields.keys():
        if isinstance(fields[key], memoryview):
            fields[key] = bytes(fields[key])
    return fields


def config_fields(config: ModalityConfig, dialect: Dialect | None) -> dict[str, Any]:
    """A modality config as a map; without a dialect it carries both markers."""
    markers = CONFIG_MARKERS.values() if dialect is None else [CONFIG_MARKERS[dialect]]
    return {**dict.fromkeys(markers, True), "as_json": config.as_json()}


def decode_config(
    fields: Mapping[Any, Any],
) -> tuple[ModalityConfig, frozenset[Dialect]] | None:
    """Build the modality config that a decoded map stands for.

    Its fields, under ``as_json``, are a map, or JSON as text or bytes, which N1.7 since July 2026
    also reads. Markers and ``as_json`` may be text or bytes.

    Returns:
        The config and the dialects whose marker it carries; None where the map is no config.

    Raises:
        ProtocolError: Marked as a config, but malformed.
    """
    if _CONFIG_MARKERS.isdisjoint(fields):
        return None
    dialects = frozenset(
        dialect
        for dialect, marker in CONFIG_MARKERS.items()
        if marker in fields or marker.encode() in fields
    )
    as_json = _parsed(fields.get("as_json", fields.get(b"as_json")))
    if not isinstance(as_json, dict):
        raise ProtocolError(
            f"a modality config needs a map, or JSON of one, under 'as_json', got {_name(as_json)}"
        )
    try:
        return ModalityConfig(**as_json), dialects
    except (SpecError, TypeError) as error:
        raise ProtocolError(f"malformed modality config: {error}") from None


def _parsed(as_json: Any) -> Any:
    """What JSON text or bytes say; anything else as it is."""
    if not isinstance(as_json, (str, bytes)):
        return as_json
    if len(as_json) > MAX_CONFIG_TEXT:
        raise ProtocolError(f"a modality config of {len(as_json)} bytes, {MAX_CONFIG_TEXT} at most")
    try:
        return json.loads(as_json)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a modality config whose 'as_json' is no JSON: {error}") from None


def _name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
