# SPDX-License-Identifier: Apache-2.0
"""The serializer: plain data, numpy arrays and modality configs, as both lines of Isaac-GR00T.

Nothing is ever unpickled. The memory of an array is copied once when a message is written as one
piece, and not at all when it is written in parts or read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgpack
import numpy as np

from gr00t_policy_core.errors import EncodingError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.serving.wire import arrays, configs
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.message_templates import TemplateCache
from gr00t_policy_core.serving.wire.msgpack_reader import (
    MAX_DEPTH,
    MAX_ITEMS,
    Charge,
    MsgpackReader,
)

Buffer: TypeAlias = bytes | bytearray | memoryview

_PLAIN = (str, int, float, bool, type(None), msgpack.ExtType, msgpack.Timestamp)
_BINARY = (bytes, bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded message.

    Args:
        value: The decoded content of the message.
        dialect: The dialect of its arrays and modality configs; None where it has none of them, or
            they do not agree.
    """

    value: Any
    dialect: Dialect | None


class MsgSerializer:
    """Encodes and decodes messages; subclasses extend it by the two `..._custom_classes` hooks."""

    @classmethod
    def to_bytes(cls, data: Any, *, dialect: Dialect | str | None = None) -> bytes:
        """Encode a message.

        Args:
            data: Dicts with str (or bytes) keys, lists, tuples, str, bytes, int, float, bool,
                None, `ModalityConfig`, numpy arrays and scalars of bool, integer and float
                dtypes, and whatever `encode_custom_classes` turns into one of these. Tuples arrive
                as lists.
            dialect: ``"n1d6"`` or ``"n1d7"``. None, for a peer whose dialect is not known, writes
                arrays in n1d7 and marks modality configs for both.

        Raises:
            EncodingError: Names the entry that cannot be sent.
            SpecError: The dialect does not exist.
        """
        return b"".join(cls.to_parts(data, dialect=dialect))

    @classmethod
    def to_parts(cls, data: Any, *, dialect: Dialect | str | None = None) -> list[Any]:
        """Encode a message as `to_bytes` does, without a copy of the memory of arrays.

        Returns:
            Buffers that together are the message; the arrays themselves are among them.
        """
        return _Writer(cls.encode_custom_classes, _dialect(dialect)).message(data)

    @classmethod
    def from_bytes(cls, buffer: Buffer, *, writable: bool = False) -> Any:
        """Decode a message of either dialect.

        Args:
            buffer: The received bytes; arrays in the result are views of them.
            writable: Copy the arrays. Otherwise they are read-only views of `buffer`, keep it
                alive, and are not always aligned.

        Raises:
            ProtocolError: The bytes are malformed, announce more than is there, or hold an array
                of a refused kind.
        """
        return cls.decode(buffer, writable=writable).value

    @classmethod
    def decode(
        cls,
        buffer: Buffer,
        *,
        writable: bool = False,
        max_items: int = MAX_ITEMS,
        charge: Charge | None = None,
    ) -> Decoded:
        """Decode a message as `from_bytes` does, and detect the dialect it is written in.

        Args:
            buffer: The received bytes, as in `from_bytes`.
            writable: Whether arrays may be written to, as in `from_bytes`.
            max_items: The limit on keys, values and list items, for a message that matches no
                template.
            charge: Called with the number of items that were read, also where decoding fails; not
                called for a message that matches a template.

        Raises:
            ProtocolError: As `from_bytes`.
        """
        message = memoryview(buffer).toreadonly().cast("B")
        may_use_template = cls.decode_custom_classes is _NO_HOOK and not writable
        if may_use_template and (template := _TEMPLATES.find(message)) is not None:
            return Decoded(template.decode(message), template.dialect)
        mapper = _Mapper(cls.decode_custom_classes, writable)
        reader = MsgpackReader(message, mapper.map, arrays.PAYLOAD_KEYS, max_items)
        try:
            value = reader.value()
            reader.finish()
        finally:
            if charge is not None:
                charge(reader.items)
        if may_use_template:
            _TEMPLATES.learn(message)
        dialect = next(iter(mapper.dialects)) if len(mapper.dialects) == 1 else None
        return Decoded(value, dialect)

    @staticmethod
    def encode_custom_classes(obj: Any) -> Any:
        """Turn an object into something that can be sent; a hook for subclasses.

        Called with every object that msgpack has no type for, including arrays and modality
        configs. An object that it returns unchanged is encoded as `to_bytes` says.
        """
        return obj

    @staticmethod
    def decode_custom_classes(obj: dict[Any, Any]) -> Any:
        """Turn a decoded map into an object; a hook for subclasses.

        Called with every map that is not an array, inner maps first. A map that it returns
        unchanged is decoded as `from_bytes` says.
        """
        return obj


def contains_arrays(data: Any) -> bool:
    """Whether nested dicts, lists and tuples hold a numpy array or scalar, so that the dialect
    matters."""
    if isinstance(data, dict):
        return any(map(contains_arrays, data.values()))
    if isinstance(data, (list, tuple)):
        return any(map(contains_arrays, data))
    return isinstance(data, (np.ndarray, np.generic))


def _dialect(dialect: Dialect | str | None) -> Dialect | None:
    if dialect is None or type(dialect) is Dialect:
        return dialect
    try:
        return Dialect(dialect)
    except ValueError:
        known = [member.value for member in Dialect]
        raise SpecError("bad dialect", [f"expected one of {known}, got {dialect!r}"]) from None


_TEMPLATES = TemplateCache()
_NO_HOOK = MsgSerializer.decode_custom_classes


class _Mapper:
    """Decodes the maps of one message."""

    __slots__ = ("_hook", "_writable", "dialects")

    def __init__(self, hook: Callable[[dict[Any, Any]], Any], writable: bool) -> None:
        self._hook = hook
        self._writable = writable
        self.dialects: set[Dialect] = set()

    def map(self, fields: dict[Any, Any]) -> Any:
        found = arrays.decode_array(fields)
        if found is not None:
            array, dialect = found
            self.dialects.add(dialect)
            return array.copy() if self._writable else array
        fields = arrays.with_own_bytes(fields)
        custom = self._hook(fields)
        config = configs.decode_config(fields) if custom is fields else None
        if config is None:
            return custom
        self.dialects |= config[1] if len(config[1]) == 1 else set()
        return config[0]


class _Writer:
    """Encodes one message: a packer takes the small values; the memory of arrays goes between."""

    __slots__ = ("_dialect", "_hook", "_packer", "_parts", "_path")

    def __init__(self, hook: Callable[[Any], Any], dialect: Dialect | None) -> None:
        self._hook = hook
        self._dialect = dialect
        self._packer = msgpack.Packer(autoreset=False)
        self._parts: list[Any] = []
        self._path: list[str] = []  # of the entry that cannot be sent, last key first

    def message(self, data: Any) -> list[Any]:
        try:
            self._value(data, 0)
        except EncodingError as error:
            where = ".".join(reversed(self._path))
            raise EncodingError(f"{where}: {error}" if where else str(error)) from None
        self._parts.append(self._packer.bytes())
        return self._parts

    def _value(self, obj: Any, depth: int) -> None:
        kind = type(obj)
        if kind in _PLAIN:
            self._plain(obj)
        elif kind is dict:
            self._map(obj, depth + 1)
        elif kind is np.ndarray and self._hook is MsgSerializer.encode_custom_classes:
            self._ndarray(obj)
        elif kind is list:
            self._array(obj, depth + 1)
        elif isinstance(obj, (np.ndarray, np.generic)):  # a np.float64 is a float, too
            self._object(obj, depth)
        elif isinstance(obj, dict):
            self._map(obj, depth + 1)
        elif isinstance(obj, _BINARY):
            self._binary(obj)
        elif isinstance(obj, (list, tuple)) and not isinstance(obj, msgpack.ExtType):
            self._array(obj, depth + 1)
        elif isinstance(obj, _PLAIN):
            self._plain(obj)
        else:
            self._object(obj, depth)

    def _plain(self, obj: Any) -> None:
        try:
            self._packer.pack(obj)
        except (ValueError, OverflowError) as error:
            raise _unsendable(obj, error) from None

    def _map(self, obj: dict[Any, Any], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        pack = self._packer.pack
        self._packer.pack_map_header(len(obj))
        for key, value in obj.items():
            if not isinstance(key, (str, bytes)):
                raise EncodingError(f"map keys must be str, got {type(key).__name__} {key!r:.60}")
            part = key
            try:
                pack(key)
                part = value
                kind = type(value)
                if kind in _PLAIN:
                    pack(value)
                elif kind is dict:
                    self._map(value, depth + 1)
                else:
                    self._value(value, depth)
            except EncodingError:
                self._path.append(str(key))
                raise
            except (ValueError, OverflowError) as error:
                self._path.append(str(key))
                raise _unsendable(part, error) from None

    def _array(self, obj: list[Any] | tuple[Any, ...], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        self._packer.pack_array_header(len(obj))
        for item in obj:
            self._value(item, depth)

    def _object(self, obj: Any, depth: int) -> None:
        custom = self._hook(obj)
        if custom is not obj:
            if depth > MAX_DEPTH:
                raise EncodingError("encode_custom_classes never arrives at plain data")
            self._value(custom, depth + 1)
        elif isinstance(obj, (np.str_, np.bytes_)):
            self._packer.pack(obj.item())
        elif isinstance(obj, (np.ndarray, np.generic)):
            self._ndarray(obj)
        elif isinstance(obj, ModalityConfig):
            self._value(configs.config_fields(obj, self._dialect), depth)
        else:
            raise EncodingError(
                f"a {type(obj).__name__} cannot be sent; convert it to plain data, or extend "
                "MsgSerializer.encode_custom_classes"
            )

    def _ndarray(self, obj: np.ndarray[Any, Any] | np.generic) -> None:
        prefix, data = arrays.encode_array(obj, self._dialect or Dialect.N1D7)
        self._parts += (self._packer.bytes(), prefix, data)
        self._packer.reset()

    def _binary(self, obj: bytes | bytearray | memoryview) -> None:
        data = memoryview(obj)
        if not data.c_contiguous:
            data = memoryview(bytes(data))
        self._parts += (self._packer.bytes(), arrays.bin_header(data.nbytes), data)
        self._packer.reset()


def _unsendable(obj: Any, error: Exception) -> EncodingError:
    return EncodingError(f"{type(obj).__name__} cannot be sent: {error}")


def _too_deep() -> EncodingError:
    return EncodingError(f"nested more than {MAX_DEPTH} levels deep")
