# SPDX-License-Identifier: Apache-2.0
"""Forms of earlier messages, so that the next ones need not be read word by word.

A robot sends the same message again and again: only the data of its arrays, and some numbers,
differ. Where all other bytes are those of a message that was read before, what they mean is known
(measured: an observation of two cameras decodes in 6 µs; word by word 50).
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
from gr00t_policy_core.serving.wire import arrays as wire
from gr00t_policy_core.serving.wire.arrays import Dialect
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS, Reader

MAX_LENGTHS = 32  # of messages, whose forms are kept
FORMS_PER_LENGTH = 4
MAX_WORDS_BYTES = 4096  # of a form, all that is no hole
MAX_HOLES = 256

Unpack: TypeAlias = Callable[[memoryview, int], tuple[Any, ...]]

_CONSTANTS = frozenset({str, bytes, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class ArrayHole:
    """Where an array's data lie in a message, and what it is.

    Args:
        at: Offset in the message, in bytes.
        size: Of its data, in bytes.
        dtype: Of the array.
        shape: Of the array.
        order: How its data lie, as numpy names it.
    """

    at: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]


@dataclass(frozen=True, slots=True)
class NumberHole:
    """Where a number lies in a message.

    Args:
        at: Offset in the message, behind its tag, in bytes.
        layout: Of its bytes.
    """

    at: int
    layout: struct.Struct

    @property
    def size(self) -> int:
        return self.layout.size


@dataclass(frozen=True, slots=True)
class Form:
    """A message but for what is in its holes.

    Args:
        stretches: Between the holes: begin and end of each.
        words: The bytes of all stretches.
        containers: Dicts and lists to be copied, outermost first, each with where it stands: in
            which of those before it, at which key or index. The first of all is a list of one.
        arrays: Where in the containers each array stands.
        numbers: Likewise, with what unpacks it and its offset.
        dialect: That its arrays are in; None where it has none.
    """

    stretches: tuple[tuple[int, int], ...]
    words: bytes
    containers: tuple[tuple[int, Any, dict[Any, Any] | list[Any]], ...]
    arrays: tuple[tuple[int, Any, ArrayHole], ...]
    numbers: tuple[tuple[int, Any, Unpack, int], ...]
    dialect: Dialect | None

    @classmethod
    def of(cls, message: memoryview) -> Form | None:
        """The form of a message that decodes.

        None where it holds anything but plain data and arrays of one dialect, or too many words, or
        is one word.
        """
        holes_of = _Holes(message)
        reader = _PlanReader(message, holes_of)
        try:
            plan = reader.value()
            holes = sorted((hole.at, hole.at + hole.size) for hole in _holes(plan))
        except ProtocolError:
            return None
        if len(holes) > MAX_HOLES or type(plan) in _CONSTANTS:
            return None
        begins = [0, *(end for _, end in holes)]
        ends = [*(begin for begin, _ in holes), len(message)]
        stretches = tuple(zip(begins, ends, strict=True))
        if sum(end - begin for begin, end in stretches) > MAX_WORDS_BYTES:
            return None
        words = b"".join(message[begin:end] for begin, end in stretches)
        steps = list(_steps(plan))
        return cls(
            stretches,
            words,
            tuple((into, key, part) for into, key, part in steps if isinstance(part, (dict, list))),
            tuple((into, key, part) for into, key, part in steps if isinstance(part, ArrayHole)),
            tuple(
                (into, key, part.layout.unpack_from, part.at)
                for into, key, part in steps
                if isinstance(part, NumberHole)
            ),
            holes_of.dialect,
        )

    def fits(self, message: memoryview) -> bool:
        """Whether a message of this form's length is of this form."""
        return b"".join([message[begin:end] for begin, end in self.stretches]) == self.words

    def value(self, message: memoryview) -> Any:
        """What a message of this form holds; its arrays are views of it."""
        made: list[Any] = [[None]]
        for into, key, container in self.containers:
            there = container.copy()
            made[into][key] = there
            made.append(there)
        for into, key, hole in self.arrays:
            made[into][key] = np.ndarray(hole.shape, hole.dtype, message, hole.at, None, hole.order)
        for into, key, unpack, at in self.numbers:
            made[into][key] = unpack(message, at)[0]
        return made[0][0]


class Forms:
    """Forms by the length of their messages; safe in any thread.

    A message gives one only after the reader has decoded it, with all its checks, and only where
    another one of its length has come before.
    """

    def __init__(self) -> None:
        self._by_length: dict[int, tuple[Form, ...]] = {}
        self._lengths: deque[int] = deque(maxlen=MAX_LENGTHS)  # of messages that were read

    def __len__(self) -> int:
        return sum(map(len, self._by_length.copy().values()))

    def find(self, message: memoryview) -> Form | None:
        """The form of a message."""
        for form in self._by_length.get(len(message), ()):
            if form.fits(message):
                return form
        return None

    def learn(self, message: memoryview) -> None:
        """Remember the form of a message that was decoded."""
        length = len(message)
        if length not in self._lengths:
            self._lengths.append(length)
            return
        form = Form.of(message)
        if form is None:
            return
        # Without a lock, which a fork could leave held: what another thread learns meanwhile may be
        # lost, and is learned again.
        if length not in self._by_length and len(self._by_length) >= MAX_LENGTHS:
            oldest = next(iter(self._by_length.copy()))
            self._by_length.pop(oldest, None)
        kept = self._by_length.get(length, ())[: FORMS_PER_LENGTH - 1]
        self._by_length[length] = (form, *kept)


class _PlanReader(Reader):
    """Reads holes in place of arrays and numbers."""

    __slots__ = ()

    def __init__(self, message: memoryview, holes: _Holes) -> None:
        super().__init__(message, holes.of_map, wire.PAYLOAD_KEYS)
        self._items_left = min(MAX_ITEMS, MAX_WORDS_BYTES)  # each takes a byte of the words

    def value(self, depth: int = 0) -> Any:
        layout = self.number_layout()
        value = super().value(depth)
        return value if layout is None else NumberHole(self.at - layout.size, layout)


class _Holes:
    """Finds the arrays of one message, and the one dialect that they are in."""

    __slots__ = ("_message", "_start", "dialect")

    def __init__(self, message: memoryview) -> None:
        self._message = message
        self._start = _address(np.frombuffer(message, np.uint8))
        self.dialect: Dialect | None = None

    def of_map(self, fields: dict[Any, Any]) -> Any:
        """A hole in place of a map that is an array."""
        # The sizes of an array's shape are no holes.
        read = {key: self._numbers(value) for key, value in fields.items()}
        found = wire.decode_array(read)
        if found is None:
            if wire.decode_config(read) is not None:
                raise ProtocolError("a modality config is no plain data")
            return wire.with_own_bytes(fields)
        array, dialect = found
        if self.dialect not in (None, dialect):
            raise ProtocolError("arrays of both dialects")
        self.dialect = dialect
        if not isinstance(array, np.ndarray):
            raise ProtocolError("a numpy scalar is no plain data")
        at = _address(array) - self._start if array.nbytes else 0
        order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
        return ArrayHole(at, array.nbytes, array.dtype, array.shape, order)

    def _numbers(self, value: Any) -> Any:
        """A number, or a list of them, in place of their holes."""
        if isinstance(value, list):
            return [self._numbers(part) if type(part) is NumberHole else part for part in value]
        if type(value) is NumberHole:
            return value.layout.unpack_from(self._message, value.at)[0]
        return value


def _holes(plan: Any) -> Iterator[ArrayHole | NumberHole]:
    if isinstance(plan, (ArrayHole, NumberHole)):
        yield plan
    elif isinstance(plan, dict):
        for part in plan.values():
            yield from _holes(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _holes(part)
    elif type(plan) not in _CONSTANTS:
        raise ProtocolError(f"a {type(plan).__name__} is no plain data")


def _steps(plan: Any) -> Iterator[tuple[int, Any, Any]]:
    """All that is no constant: in which container, at which key or index, what stands."""
    waiting: list[tuple[int, Any, Any]] = [(0, 0, plan)]
    containers = 1
    while waiting:
        container, key, part = waiting.pop()
        yield container, key, part
        if isinstance(part, (dict, list)):
            inner = part.items() if isinstance(part, dict) else enumerate(part)
            waiting += [(containers, k, p) for k, p in inner if type(p) not in _CONSTANTS]
            containers += 1


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
