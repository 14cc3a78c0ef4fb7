# SPDX-License-Identifier: Apache-2.0
"""The encoding of arrays and numpy scalars, in both dialects.

======  ====================================================================================
n1d6    ``{"__ndarray_class__": true, "as_npy": npy bytes}``
n1d7    ``{b"nd": true, b"type": "<f4", b"kind": b"", b"shape": [...], b"data": bytes}``,
        as msgpack-numpy writes it
======  ====================================================================================

n1d6 is that of Isaac-GR00T N1.6, and of N1.7 until May 2026; n1d7 that of N1.7 since then. Arrays
hold booleans, integers or real floats: object arrays are pickles and are refused.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import EncodingError, ProtocolError

AnyArray: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

ARRAY_KINDS = "biuf"
MAX_RANK = 32  # numpy 1.x holds no more
MAX_NPY_HEADER_BYTES = 4096
MAX_BIN_BYTES = 2**32 - 1  # msgpack's bin 32

# Values under these keys can be the data of an array, which decoding must not copy.
PAYLOAD_KEYS: frozenset[str | bytes] = frozenset({"as_npy", b"data", "data"})

_NPY_MAGIC = b"\x93NUMPY"
_NPY_ENTRY = re.compile(
    rb"\s*'(descr|fortran_order|shape)'\s*:\s*"
    rb"('[^'\\]*'|True|False|\(\s*(?:\d+L?\s*,\s*)*(?:\d+L?\s*)?\))\s*(?:,|$)"
)
_TYPE_STRING = re.compile(r"[<>|=]?[biuf][0-9]{1,2}|bool|u?int(8|16|32|64)|float(16|32|64)")


class Dialect(str, Enum):
    """The encoding that a peer writes, named after the line of Isaac-GR00T that introduced it."""

    N1D6 = "n1d6"
    N1D7 = "n1d7"


def bin_header(size: int) -> bytes:
    """The msgpack header of `size` bytes of binary data.

    Raises:
        EncodingError: One message cannot hold so many.
    """
    if size < 2**8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 2**16:
        return b"\xc5" + size.to_bytes(2, "big")
    if size <= MAX_BIN_BYTES:
        return b"\xc6" + size.to_bytes(4, "big")
    raise EncodingError(f"{size} bytes are more than one message can hold ({MAX_BIN_BYTES})")


def encode_array(array: AnyArray | np.generic, dialect: Dialect) -> tuple[bytes, AnyArray]:
    """Split an array or numpy scalar into the bytes before its data, and its data.

    Args:
        array: Of any shape, strides and byte order.
        dialect: The dialect to write.

    Returns:
        The bytes before the data, and an array whose memory is the data: `array` itself where it is
        C-contiguous.

    Raises:
        EncodingError: The dtype is not bool, integer or real float; or the array has 4 GiB or more.
    """
    if array.dtype.kind not in ARRAY_KINDS:
        raise EncodingError(
            f"an array of dtype {array.dtype} cannot be sent; convert it to a bool, integer or "
            "float dtype"
        )
    is_scalar = not isinstance(array, np.ndarray)
    data = array if type(array) is np.ndarray else np.asarray(array)
    if not data.flags.c_contiguous:
        data = np.ascontiguousarray(data)
    return _array_prefix(dialect, data.dtype.str, data.shape, is_scalar), data


# A robot sends the same shapes again and again. Without the cache a round trip takes 6 to 31 %
# longer at 2 x 480 x 640, and 7 % at 1 x 224 x 224 (ablation, 2026-11-26).
@lru_cache(maxsize=512)
def _array_prefix(dialect: Dialect, type_string: str, shape: Shape, is_scalar: bool) -> bytes:
    size = np.dtype(type_string).itemsize * math.prod(shape)
    fields: dict[Any, Any]
    if dialect is Dialect.N1D6:
        header = _npy_header(type_string, shape)
        # Isaac-GR00T ignores "scalar" and reads a 0-d array.
        fields = {"__ndarray_class__": True, **({"scalar": True} if is_scalar else {})}
        return _map_prefix(fields, "as_npy") + bin_header(len(header) + size) + header
    fields = {b"nd": not is_scalar, b"type": type_string}
    if not is_scalar:
        fields |= {b"kind": b"", b"shape": shape}
    return _map_prefix(fields, b"data") + bin_header(size)


def _map_prefix(fields: Mapping[Any, Any], last_key: str | bytes) -> bytes:
    """A map of `fields` and one more entry, up to the value of that entry."""
    packed: bytes = msgpack.packb({**fields, last_key: None})
    return packed[:-1]  # without the nil


def _npy_header(type_string: str, shape: Shape) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": type_string, "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def decode_array(fields: Mapping[Any, Any]) -> tuple[AnyArray | np.generic, Dialect] | None:
    """Build the array that a decoded map encodes, without a copy of its data.

    Args:
        fields: The map; the data of arrays in it are read-only memoryviews.

    Returns:
        A read-only array on the memory of the data (or a numpy scalar), and the dialect that it is
        written in; None where the map is not an array.

    Raises:
        ProtocolError: The map is marked as an array, but it is malformed, of a refused kind, or
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
    """Build an array in msgpack-numpy's encoding; keys are str where the writer has no bin type."""
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
        raise ProtocolError(f"an array needs binary data under {key!r}, got {type_name(data)}")
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


def _dtype(type_string: Any) -> np.dtype[Any]:
    if not isinstance(type_string, str):
        raise ProtocolError(f"an array's type must be a string, got {type_name(type_string)}")
    if not _TYPE_STRING.fullmatch(type_string):
        raise ProtocolError(
            f"arrays of dtype {type_string[:40]!r} are refused: only bool, integer and float pass"
        )
    try:
        return np.dtype(type_string)
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
    except ValueError as error:  # an empty array with an enormous dimension
        raise ProtocolError(f"an array of shape {shape} cannot be built: {error}") from None


def with_own_bytes(fields: dict[Any, Any]) -> dict[Any, Any]:
    """A decoded map that is not an array: what could have been the data of one becomes bytes."""
    for key in PAYLOAD_KEYS & fields.keys():
        if isinstance(fields[key], memoryview):
            fields[key] = bytes(fields[key])
    return fields


def type_name(value: Any) -> str:
    """The type of a value, for error texts."""
    return "nothing" if value is None else type(value).__name__
