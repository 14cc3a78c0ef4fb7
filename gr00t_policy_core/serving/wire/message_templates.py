# SPDX-License-Identifier: Apache-2.0
"""Templates of earlier messages, which decode the next ones without reading every value.

A robot sends the same message again and again: only the data of its arrays and some numbers
differ. Where all other bytes equal those of a message that was read before, their meaning is known.

Measured on 2026-11-26 by switching only this off, round trips over TCP on loopback: without
templates a round trip takes 1.38 times as long at 1 x 224x224, and 1.14 to 1.16 at 2 x 480x640.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.wire import arrays, configs
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS, MsgpackReader

MAX_LENGTHS = 32  # of messages that templates are kept for
TEMPLATES_PER_LENGTH = 4
MAX_CONSTANT_BYTES = 4096  # of a template
MAX_FIELDS = 256  # of a template

Unpack: TypeAlias = Callable[[memoryview, int], tuple[Any, ...]]

_CONSTANTS = frozenset({str, bytes, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class ArrayField:
    """An array whose data differ from message to message.

    Args:
        at: Offset of the data in the message, in bytes.
        size: Of the data, in bytes.
        dtype: The numpy dtype of the array.
        shape: The shape of the array, empty for a scalar.
        order: The memory order of the data, as numpy names it.
    """

    at: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]


@dataclass(frozen=True, slots=True)
class NumberField:
    """A number that differs from message to message.

    Args:
        at: Offset of the number in the message, after its msgpack tag, in bytes.
        layout: The format of its bytes, as the module `struct` names it.
    """

    at: int
    layout: struct.Struct

    @property
    def size(self) -> int:
        """The size of the number, in bytes."""
        return self.layout.size


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """A message without the content of its fields.

    A position in the decoded message is the index of a container in `containers`, counted from 1
    (0 is a list of one item, the message), and a key or index in that container.

    Args:
        constant_spans: Begin and end of each stretch of bytes between two fields.
        constant_bytes: The bytes of all spans.
        containers: Dicts and lists to copy, outermost first, each with its position.
        arrays: The array fields, each with its position.
        numbers: For each number field its position, what unpacks it, and its offset.
        dialect: The dialect of the arrays; None if there are none.
    """

    constant_spans: tuple[tuple[int, int], ...]
    constant_bytes: bytes
    containers: tuple[tuple[int, Any, dict[Any, Any] | list[Any]], ...]
    arrays: tuple[tuple[int, Any, ArrayField], ...]
    numbers: tuple[tuple[int, Any, Unpack, int], ...]
    dialect: Dialect | None

    @classmethod
    def of(cls, message: memoryview) -> MessageTemplate | None:
        """The template of a message that the reader has decoded.

        None where the message holds anything but plain data and arrays of one dialect, or has too
        many constant bytes or fields, or is a single constant.
        """
        finder = _FieldFinder(message)
        try:
            skeleton = _SkeletonReader(message, finder).value()
            fields = sorted((field.at, field.at + field.size) for field in _fields_of(skeleton))
        except ProtocolError:
            return None
        if len(fields) > MAX_FIELDS or type(skeleton) in _CONSTANTS:
            return None
        begins = [0, *(end for _, end in fields)]
        ends = [*(begin for begin, _ in fields), len(message)]
        spans = tuple(zip(begins, ends, strict=True))
        if sum(end - begin for begin, end in spans) > MAX_CONSTANT_BYTES:
            return None
        parts = list(_parts_to_build(skeleton))
        return cls(
            spans,
            b"".join(message[begin:end] for begin, end in spans),
            tuple((into, key, part) for into, key, part in parts if isinstance(part, (dict, list))),
            tuple((into, key, part) for into, key, part in parts if isinstance(part, ArrayField)),
            tuple(
                (into, key, part.layout.unpack_from, part.at)
                for into, key, part in parts
                if isinstance(part, NumberField)
            ),
            finder.dialect,
        )

    def matches(self, message: memoryview) -> bool:
        """Whether a message of the same length differs from the template in its fields only."""
        constant = b"".join([message[begin:end] for begin, end in self.constant_spans])
        return constant == self.constant_bytes

    def decode(self, message: memoryview) -> Any:
        """Decode a message that matches; its arrays are views of it."""
        built: list[Any] = [[None]]
        for into, key, container in self.containers:
            copy = container.copy()
            built[into][key] = copy
            built.append(copy)
        for into, key, field in self.arrays:
            built[into][key] = np.ndarray(
                field.shape, field.dtype, message, field.at, None, field.order
            )
        for into, key, unpack, at in self.numbers:
            built[into][key] = unpack(message, at)[0]
        return built[0][0]


class TemplateCache:
    """Templates by the length of their messages; safe in any thread.

    A template is made of a message only after the reader has decoded it, with all its checks, and
    another message of the same length has been decoded before.
    """

    def __init__(self) -> None:
        self._by_length: dict[int, tuple[MessageTemplate, ...]] = {}
        self._seen_lengths: deque[int] = deque(maxlen=MAX_LENGTHS)

    def __len__(self) -> int:
        return sum(map(len, self._by_length.copy().values()))

    def find(self, message: memoryview) -> MessageTemplate | None:
        """The template that a message matches."""
        for template in self._by_length.get(len(message), ()):
            if template.matches(message):
                return template
        return None

    def learn(self, message: memoryview) -> None:
        """Make a template of a message that was decoded."""
        length = len(message)
        if length not in self._seen_lengths:
            self._seen_lengths.append(length)
            return
        template = MessageTemplate.of(message)
        if template is None:
            return
        # Without a lock, which a fork could leave held: a template that another thread learns at
        # the same time can be lost, and is learned again.
        if length not in self._by_length and len(self._by_length) >= MAX_LENGTHS:
            oldest = next(iter(self._by_length.copy()))
            self._by_length.pop(oldest, None)
        kept = self._by_length.get(length, ())[: TEMPLATES_PER_LENGTH - 1]
        self._by_length[length] = (template, *kept)


class _SkeletonReader(MsgpackReader):
    """Reads a message as a skeleton: with fields in place of arrays and numbers."""

    __slots__ = ()

    def __init__(self, message: memoryview, finder: _FieldFinder) -> None:
        # Each item takes at least one constant byte.
        max_items = min(MAX_ITEMS, MAX_CONSTANT_BYTES)
        super().__init__(message, finder.on_map, arrays.PAYLOAD_KEYS, max_items)

    def value(self, depth: int = 0) -> Any:
        layout = self.number_layout()
        value = super().value(depth)
        return value if layout is None else NumberField(self.at - layout.size, layout)


class _FieldFinder:
    """Finds the arrays of one message, and the one dialect that they are written in."""

    __slots__ = ("_message", "_start", "dialect")

    def __init__(self, message: memoryview) -> None:
        self._message = message
        self._start = _address(np.frombuffer(message, np.uint8))
        self.dialect: Dialect | None = None

    def on_map(self, skeleton: dict[Any, Any]) -> Any:
        """An array field in place of a map that encodes an array.

        Raises:
            ProtocolError: A template cannot hold what the map encodes.
        """
        # The sizes in an array's shape are not fields.
        fields = {key: self._with_numbers(value) for key, value in skeleton.items()}
        decoded = arrays.decode_array(fields)
        if decoded is None:
            if configs.decode_config(fields) is not None:
                raise ProtocolError("a modality config is not plain data")
            return arrays.with_own_bytes(skeleton)
        array, dialect = decoded
        if self.dialect not in (None, dialect):
            raise ProtocolError("arrays of both dialects")
        self.dialect = dialect
        if not isinstance(array, np.ndarray):
            raise ProtocolError("a numpy scalar is not plain data")
        at = _address(array) - self._start if array.nbytes else 0
        order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
        return ArrayField(at, array.nbytes, array.dtype, array.shape, order)

    def _with_numbers(self, part: Any) -> Any:
        """A number field, or a list of some, with the numbers of the message."""
        if isinstance(part, list):
            return [self._with_numbers(p) if type(p) is NumberField else p for p in part]
        if type(part) is NumberField:
            return part.layout.unpack_from(self._message, part.at)[0]
        return part


def _fields_of(skeleton: Any) -> Iterator[ArrayField | NumberField]:
    if isinstance(skeleton, (ArrayField, NumberField)):
        yield skeleton
    elif isinstance(skeleton, dict):
        for part in skeleton.values():
            yield from _fields_of(part)
    elif isinstance(skeleton, list):
        for part in skeleton:
            yield from _fields_of(part)
    elif type(skeleton) not in _CONSTANTS:
        raise ProtocolError(f"a {type(skeleton).__name__} is not plain data")


def _parts_to_build(skeleton: Any) -> Iterator[tuple[int, Any, Any]]:
    """All containers and fields, each with its position; a container before what is in it."""
    waiting: list[tuple[int, Any, Any]] = [(0, 0, skeleton)]
    containers = 1
    while waiting:
        into, key, part = waiting.pop()
        yield into, key, part
        if isinstance(part, (dict, list)):
            inner = part.items() if isinstance(part, dict) else enumerate(part)
            waiting += [(containers, k, p) for k, p in inner if type(p) not in _CONSTANTS]
            containers += 1


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
