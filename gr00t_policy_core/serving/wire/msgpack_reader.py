# SPDX-License-Identifier: Apache-2.0
"""A msgpack reader that copies no binary data and trusts no announced size.

`msgpack.unpackb` copies every bin value once; at camera sizes that is most of the cost of
decoding. The reader is strict: map keys are str or bytes, text is valid UTF-8, and nothing follows
the one value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack

from gr00t_policy_core.errors import ProtocolError

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 200_000

Charge: TypeAlias = "Callable[[int], None]"
OnMap: TypeAlias = "Callable[[dict[Any, Any]], Any]"

# What a tag announces: a value (in the tag or in the bytes that follow), or a size.
_VALUE, _TEXT, _BIN, _EXT, _ARRAY, _MAP, _INVALID = range(7)


def _tag_table() -> list[tuple[int, Any, struct.Struct | None]]:
    """By tag: its kind, and the value or size, or the layout of the bytes that hold it."""
    table: list[tuple[int, Any, struct.Struct | None]] = [(_VALUE, n, None) for n in range(0x80)]
    table += [(_MAP, n, None) for n in range(16)]
    table += [(_ARRAY, n, None) for n in range(16)]
    table += [(_TEXT, n, None) for n in range(32)]
    table += [(_VALUE, None, None), (_INVALID, None, None), (_VALUE, False, None)]
    table += [(_VALUE, True, None)]
    table += [(_BIN, None, struct.Struct(layout)) for layout in (">B", ">H", ">I")]
    table += [(_EXT, None, struct.Struct(layout)) for layout in (">B", ">H", ">I")]
    table += [(_VALUE, None, struct.Struct(">" + code)) for code in "fdBHIQbhiq"]
    table += [(_EXT, size, None) for size in (1, 2, 4, 8, 16)]
    table += [(_TEXT, None, struct.Struct(layout)) for layout in (">B", ">H", ">I")]
    table += [(_ARRAY, None, struct.Struct(layout)) for layout in (">H", ">I")]
    table += [(_MAP, None, struct.Struct(layout)) for layout in (">H", ">I")]
    table += [(_VALUE, n, None) for n in range(-32, 0)]
    return table


_TAGS: Final = _tag_table()


class MsgpackReader:
    """Reads msgpack values from the front of a buffer.

    Args:
        buffer: The received bytes; neither copied nor written to.
        on_map: Called with every decoded map, inner ones first; its result replaces the map.
        view_keys: Bin values under these map keys reach `on_map` as views of the buffer; all
            others are bytes.
        max_items: The limit on keys, values and list items together.

    Raises:
        ProtocolError: From every method, for bytes that are not valid msgpack, that announce more
            than is there, or that exceed `MAX_DEPTH` or `max_items`.
    """

    __slots__ = ("_at", "_items_left", "_max_items", "_on_map", "_path", "_view", "_view_keys")

    def __init__(
        self,
        buffer: bytes | bytearray | memoryview,
        on_map: OnMap | None = None,
        view_keys: frozenset[str | bytes] = frozenset(),
        max_items: int = MAX_ITEMS,
    ) -> None:
        self._view = memoryview(buffer).toreadonly().cast("B")
        self._at = 0
        self._max_items = self._items_left = max_items
        self._on_map = on_map
        self._view_keys = view_keys
        self._path: list[str | bytes] = []

    @property
    def at(self) -> int:
        """The offset of the next value, in bytes."""
        return self._at

    @property
    def items(self) -> int:
        """Keys, values and list items announced so far, since the limit was last set."""
        return self._max_items - self._items_left

    def value(self, depth: int = 0) -> Any:
        """Read one value, with everything in it."""
        kind, content = self._tag()
        if kind == _VALUE:
            return content
        if kind == _TEXT:
            return self._text(content)
        if kind == _MAP:
            return self._map(content, depth + 1)
        if kind == _ARRAY:
            self._enter(content, content, depth + 1)
            return [self.value(depth + 1) for _ in range(content)]
        if kind == _BIN:
            return bytes(self._take(content))
        return self._ext(content)

    def map_size(self) -> int:
        """Read a map header; so many times a key (`key`) and a value follow."""
        kind, size = self._tag()
        if kind != _MAP:
            raise self.error("expected a map")
        self._enter(size, 2 * size, 1)
        return int(size)

    def key(self) -> str | bytes:
        """Read a map key."""
        kind, content = self._tag()
        if kind == _TEXT:
            return self._text(content)
        if kind == _BIN:
            return bytes(self._take(content))
        raise self.error("a map key must be str or bytes")

    def plain(self) -> Any:
        """Read a number, bool, nil or text; anything else is skipped and read as None."""
        start = self._at
        kind, content = self._tag()
        if kind == _VALUE:
            return content
        if kind == _TEXT:
            return self._text(content)
        self._at = start
        self.skip()
        return None

    def skip(self, max_items: int | None = None) -> None:
        """Skip one value without building it.

        Args:
            max_items: The limit within this value, which replaces the reader's; None keeps that.
        """
        if max_items is not None:
            self._max_items = self._items_left = max_items
        pending = 1
        while pending:
            pending -= 1
            kind, content = self._tag()
            if kind == _VALUE:
                continue
            if kind == _MAP:
                self._enter(content, 2 * content, 0)
                pending += 2 * content
            elif kind == _ARRAY:
                self._enter(content, content, 0)
                pending += content
            else:
                self._take(content + (kind == _EXT))

    def number_layout(self) -> struct.Struct | None:
        """The layout of the next value after its tag, where it is a number of several bytes."""
        if self._at >= len(self._view):
            return None
        kind, _, layout = _TAGS[self._view[self._at]]
        return layout if kind == _VALUE else None

    def finish(self) -> None:
        """Make sure that nothing follows the value."""
        rest = len(self._view) - self._at
        if rest:
            raise self.error(f"{rest} bytes follow the message")

    def error(self, problem: str) -> ProtocolError:
        """An error that says where in the message the problem is."""
        keys = ".".join(
            key if isinstance(key, str) else key.decode("utf-8", "replace") for key in self._path
        )
        where = f"{keys[:120]} (byte {self._at})" if keys else f"byte {self._at}"
        return ProtocolError(f"malformed message at {where}: {problem}")

    def _tag(self) -> tuple[int, Any]:
        try:
            kind, content, layout = _TAGS[self._view[self._at]]
            self._at += 1
            if layout is not None:
                (content,) = layout.unpack_from(self._view, self._at)
                self._at += layout.size
        except (IndexError, struct.error):
            raise self.error("it ends too early") from None
        if kind == _INVALID:
            raise self.error("0xc1 is not valid msgpack")
        return kind, content

    def _take(self, size: int) -> memoryview:
        start = self._at
        self._at = end = start + size
        if end > len(self._view):
            raise self._too_short(start, size)
        return self._view[start:end]

    def _too_short(self, start: int, size: int) -> ProtocolError:
        self._at = start
        return self.error(f"{size} bytes announced, {len(self._view) - start} are there")

    def _text(self, size: int) -> str:
        start = self._at
        self._at = end = start + size
        if end > len(self._view):
            raise self._too_short(start, size)
        try:
            return str(self._view[start:end], "utf-8")
        except UnicodeDecodeError:
            raise self.error("text that is not UTF-8") from None

    def _enter(self, size: int, items: int, depth: int) -> None:
        """Check the announced size of a container: every item takes at least one byte."""
        if items > len(self._view) - self._at:
            raise self.error(f"{size} entries announced, the message is too short for them")
        self._items_left -= items
        if self._items_left < 0:
            raise self.error(f"more than {self._max_items} items")
        if depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} levels deep")

    def _map(self, size: int, depth: int) -> Any:
        self._enter(size, 2 * size, depth)
        fields: dict[Any, Any] = {}
        for _ in range(size):
            key = self.key()
            self._path.append(key)
            if key in self._view_keys and self._next_is_bin():
                fields[key] = self._take(self._tag()[1])
            else:
                fields[key] = self.value(depth)
            self._path.pop()
        if self._on_map is None:
            return fields
        try:
            return self._on_map(fields)
        except ProtocolError as error:
            raise self.error(str(error)) from None

    def _next_is_bin(self) -> bool:
        return self._at < len(self._view) and _TAGS[self._view[self._at]][0] == _BIN

    def _ext(self, size: int) -> Any:
        code = int.from_bytes(self._take(1), "big", signed=True)
        data = bytes(self._take(size))
        try:
            return msgpack.Timestamp.from_bytes(data) if code == -1 else msgpack.ExtType(code, data)
        except ValueError:
            raise self.error(f"a malformed value of extension type {code}") from None
