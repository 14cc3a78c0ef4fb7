# SPDX-License-Identifier: Apache-2.0
"""Finds the records of an MCAP file or of a chunk, and those behind a damaged one. Pure.

A length that is damaged leads nowhere, so a record counts only if it is what it says it is. Behind
one that is not, the file is searched for the next that is: `mcap recover` gives up there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Header, McapRecord, Metadata, Schema

from gr00t_ros.bags.mcap_writer import (
    CHUNK_FIELDS_LENGTH,
    CHUNK_HEAD,
    INDEX_ENTRY_LENGTH,
    INDEX_HEAD,
    MESSAGE_FIELDS_LENGTH,
    MESSAGE_HEAD,
)

Read = Callable[[int, int], bytes]

HEAD = struct.Struct("<BQ")  # opcode, length
NAME_LENGTH = 16  # no compression has a longer name
KINDS = {
    Opcode.HEADER: Header,
    Opcode.SCHEMA: Schema,
    Opcode.CHANNEL: Channel,
    Opcode.METADATA: Metadata,
}
LENGTHS = {Opcode.DATA_END: 4, Opcode.FOOTER: 20}
LAST = (Opcode.DATA_END, Opcode.FOOTER)
KNOWN = frozenset(range(Opcode.HEADER, Opcode.DATA_END + 1))
# The beginning of a record that messages may be in, or that is needed to read or to count them.
BEGINNING = re.compile(rb"[\x03-\x07\x0c](?=.{4}\x00{4})", re.DOTALL)
BLOCK = 1 << 20
MAX_LENGTH = 16 << 20  # of a record that describes others
# What was recorded shortly after: an arbitrary number is no such time, but once in a million.
NEAR_NS = 3600 * 1_000_000_000
# What a record raises that is not what it says it is.
BROKEN = (McapError, struct.error, ValueError, TypeError, KeyError)


@dataclass(frozen=True, slots=True)
class Record:
    """Where a sound record is.

    Args:
        opcode: Its kind.
        start: Offset of its opcode.
        length: Length of its content, without opcode and length.
        is_mended: Whether one of its two lengths is damaged, and the other one told where it ends.
    """

    opcode: int
    start: int
    length: int
    is_mended: bool = False

    @property
    def content(self) -> int:
        """Offset of its content."""
        return self.start + HEAD.size

    @property
    def end(self) -> int:
        """Offset of what follows it."""
        return self.content + self.length


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes between two sound records that are none."""

    start: int
    end: int


class Ending(Enum):
    """What bytes at the end of a file are that are no sound record."""

    CUT_OFF = "cut off"
    DAMAGED = "damaged"
    EITHER = "either"


def reader_of(file: BinaryIO) -> Read:
    """What reads bytes of a file by offset and length."""

    def read(start: int, length: int) -> bytes:
        file.seek(start)
        return file.read(length)

    return read


def walk(read: Read, start: int, size: int, *, time_ns: int = 0) -> Iterator[Record | Gap]:
    """Yield the sound records in order, and the gaps between them.

    It ends with the end of the data; a gap up to `size` is what no sound record follows.

    Args:
        read: What reads the bytes.
        start: Offset of the first record.
        size: Where the bytes end.
        time_ns: When a message near by was logged, ns; 0 where that is not known.
    """
    while start < size:
        record = record_at(read, start, size)
        if record is None:
            is_last = ending(read, start, size) is Ending.CUT_OFF
            end = size if is_last else _next_sound(read, start + 1, size, time_ns)
            yield Gap(start, end)
            start = end
            continue
        yield record
        if record.opcode in LAST:
            return
        time_ns = _time_ns(read, record) or time_ns
        start = record.end


def record_at(read: Read, start: int, size: int) -> Record | None:
    """The record at an offset; None where there is none that is whole, and what it says it is."""
    record = _told_at(read, start)
    if record is None or _is_sound(read, record, size):
        return record
    return _mended_chunk(read, record, size) if record.opcode == Opcode.CHUNK else None


def parse(read: Read, record: Record) -> McapRecord:
    """Read a header, schema, channel or metadata record.

    Raises:
        Exception: One of `BROKEN`; it is not what it says it is.
    """
    stream = ReadDataStream(BytesIO(read(record.content, record.length)))
    parsed: McapRecord = KINDS[Opcode(record.opcode)].read(stream)
    if stream.count != record.length:
        raise ValueError(f"the record has {record.length} bytes, its fields have {stream.count}")
    return parsed


def ending(read: Read, start: int, size: int) -> Ending:
    """Tell a record that is cut off from one that is damaged, at the end of a file without an end.

    Chunks and message indexes have their length twice. Of others it cannot be told.
    """
    record = _told_at(read, start)
    if record is None:
        head = read(start, 1)
        return Ending.CUT_OFF if head and head[0] in KNOWN else Ending.DAMAGED
    if record.opcode not in KNOWN:
        return Ending.DAMAGED
    if record.opcode == Opcode.CHUNK and (length := _chunk_length(read, start)) is not None:
        lengths_agree = length == record.length
    elif record.opcode == Opcode.MESSAGE_INDEX and start + INDEX_HEAD.size <= size:
        lengths_agree = _is_sound_index(read, record)
    else:
        return Ending.EITHER
    return Ending.CUT_OFF if lengths_agree else Ending.DAMAGED


def _told_at(read: Read, start: int) -> Record | None:
    """The record that an opcode and a length tell of; None where these are cut off."""
    head = read(start, HEAD.size)
    if len(head) < HEAD.size:
        return None
    opcode, length = HEAD.unpack(head)
    return Record(opcode, start, length)


def _is_sound(read: Read, record: Record, size: int) -> bool:
    """Whether a record is whole, and what it says it is as far as its kind tells."""
    if record.end > size or record.opcode == 0:
        return False
    if record.opcode == Opcode.CHUNK:
        return record.length == _chunk_length(read, record.start)
    if record.opcode == Opcode.MESSAGE_INDEX:
        return _is_sound_index(read, record)
    if record.opcode in KINDS:
        return record.length <= MAX_LENGTH and _can_be_parsed(read, record)
    if record.opcode in LENGTHS:
        return record.length == LENGTHS[Opcode(record.opcode)]
    if record.opcode == Opcode.MESSAGE and record.length < MESSAGE_FIELDS_LENGTH:
        return False
    following = _told_at(read, record.end)
    if following is None:
        return True
    if following.opcode not in KNOWN:
        return False
    return following.length < 1 << 40 or _are_near(read, record, following)


def _are_near(read: Read, record: Record, following: Record) -> bool:
    """Whether two messages were logged within an hour: what stands there is one, if damaged."""
    are_messages = record.opcode == following.opcode == Opcode.MESSAGE
    return are_messages and abs(_time_ns(read, record) - _time_ns(read, following)) < NEAR_NS


def _can_be_parsed(read: Read, record: Record) -> bool:
    try:
        parse(read, record)
    except BROKEN:
        return False
    return True


def _chunk_length(read: Read, start: int) -> int | None:
    """The length of a chunk's content by its fields; None where these are damaged or cut off."""
    head = read(start, CHUNK_HEAD.size + NAME_LENGTH + 8)
    if len(head) < CHUNK_HEAD.size:
        return None
    _, _, start_ns, end_ns, _, _, name_length = CHUNK_HEAD.unpack_from(head)
    data_length = head[CHUNK_HEAD.size + name_length :][:8]
    if name_length > NAME_LENGTH or start_ns > end_ns or len(data_length) < 8:
        return None
    return int(CHUNK_FIELDS_LENGTH + name_length + int.from_bytes(data_length, "little"))


def _mended_chunk(read: Read, chunk: Record, size: int) -> Record | None:
    """A chunk of which one length is damaged, and the other one leads to another sound record."""
    length = _chunk_length(read, chunk.start)
    for end in (chunk.end, chunk.content + length) if length is not None else ():
        following = _told_at(read, end) if end < size else None
        if following is not None and _is_sound(read, following, size):
            return Record(chunk.opcode, chunk.start, end - chunk.content, is_mended=True)
    return None


def _is_sound_index(read: Read, record: Record) -> bool:
    head = read(record.start, INDEX_HEAD.size)
    if len(head) < INDEX_HEAD.size:
        return False
    _, length, _, entries = INDEX_HEAD.unpack(head)
    return bool(length == entries + 6 and entries % INDEX_ENTRY_LENGTH == 0)


def _next_sound(read: Read, start: int, size: int, time_ns: int) -> int:
    """Offset of the next sound record; `size` where there is none."""
    while start < size:
        block = read(start, BLOCK + HEAD.size - 1)
        for found in BEGINNING.finditer(block):
            record = record_at(read, start + found.start(), size)
            if record is not None and _is_likely(read, record, size, time_ns):
                return record.start
        start += BLOCK
    return size


def _is_likely(read: Read, record: Record, size: int, time_ns: int) -> bool:
    """Whether bytes that would be a sound record are one by more than chance."""
    if record.opcode == Opcode.CHUNK:
        return True
    if record.opcode == Opcode.MESSAGE:
        return bool(time_ns) and abs(_time_ns(read, record) - time_ns) < NEAR_NS
    return record.end == size or record_at(read, record.end, size) is not None


def _time_ns(read: Read, record: Record) -> int:
    """When the last message of a record was logged, ns; 0 for other records."""
    if record.opcode == Opcode.CHUNK:
        return int(CHUNK_HEAD.unpack(read(record.start, CHUNK_HEAD.size))[3])
    head = read(record.start, MESSAGE_HEAD.size)
    if record.opcode == Opcode.MESSAGE and len(head) == MESSAGE_HEAD.size:
        return int(MESSAGE_HEAD.unpack(head)[4])
    return 0
