# SPDX-License-Identifier: Apache-2.0
"""Makes bags of what a recorder left that was killed. Pure."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import yaml
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Metadata, MetadataIndex, Schema

from gr00t_ros.bags.bag_metadata import FILE, RECORD, RECORD_KEY, write_synced
from gr00t_ros.bags.episode_info import PARTIAL_SUFFIX, UNFINISHED, EpisodeInfo
from gr00t_ros.bags.mcap_index import MAGIC, McapIndex
from gr00t_ros.bags.mcap_writer import CHUNK_HEAD, INDEX_ENTRY_LENGTH, INDEX_HEAD
from gr00t_ros.bags.writer import bag_metadata, file_name, publish, topic_of

RECORD_HEAD_LENGTH = 9
MESSAGE_INDEX = bytes([Opcode.MESSAGE_INDEX])
# A killed recorder leaves less than this behind the last whole record: a chunk.
MAX_LEFT_BYTES = 64 * 1024 * 1024
# What a record raises that is not what it says it is.
DAMAGED = (McapError, struct.error, yaml.YAMLError, ValueError, TypeError, KeyError)
# The records that stand between the header and the end of the data.
SMALL = (Opcode.HEADER, Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA)


@dataclass(slots=True)
class Scan:
    """A file without an end, read up to the last record that is whole.

    Args:
        index: What is in it.
        end: Offset of the end of the last whole record.
        info: The episode, as the newest metadata record tells it.
        is_damaged: Whether a record follows that is not what it says it is.
    """

    index: McapIndex
    end: int
    info: EpisodeInfo
    is_damaged: bool = False


def repair_all(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """Repair every episode in a folder that no recorder is writing.

    Yields:
        What was left, and the bag that it became; None where there was no message in it, and it was
        removed; the same folder where it is damaged from its beginning, and was left as it is.

    Raises:
        OSError: A file cannot be read or written.
    """
    for partial in sorted(folder.glob(f"*{PARTIAL_SUFFIX}")):
        if not is_being_written(partial):
            yield partial, repair(partial)


def is_being_written(partial: Path) -> bool:
    """Whether a recorder holds the file of an unfinished episode open."""
    try:
        with open(_file_of(partial), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def repair(partial: Path) -> Path | None:
    """Make a truncated bag of an unfinished episode; its messages stay where they are in the file.

    Args:
        partial: The folder that a recorder left.

    Returns:
        The folder of the bag; None where no message was in it, and it was removed; `partial` where
        the file is damaged before its first message, and was left as it is.

    Raises:
        OSError: It cannot be read or written.
    """
    bag = partial.with_name(partial.name.removesuffix(PARTIAL_SUFFIX))
    path = _file_of(partial)
    found = scan(path) if path.is_file() else Scan(McapIndex(), 0, EpisodeInfo())
    if not found.index.chunks:
        if found.is_damaged:
            return partial
        shutil.rmtree(partial)
        return None
    info = replace(found.info, truncated=found.info.truncated or UNFINISHED)
    schemas = {schema.id: schema for schema in found.index.schemas}
    topics = [topic_of(channel, schemas[channel.schema_id]) for channel in found.index.channels]
    with open(path, "r+b") as file:
        file.truncate(found.end)
        file.seek(found.end)
        file.write(found.index.end_of_file(found.end))
        file.flush()
        os.fsync(file.fileno())
    metadata = bag_metadata(file_name(bag), topics, found.index, info)
    write_synced(partial / FILE, metadata.as_file())
    return publish(partial, bag, info)


def scan(path: Path) -> Scan:
    """Read the records of a file up to the first that is damaged or not whole.

    The data of chunks are skipped: this takes milliseconds for any size of file.

    Raises:
        OSError: It cannot be read.
    """
    found = Scan(McapIndex(), 0, EpisodeInfo())
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            found.is_damaged = size >= len(MAGIC)
            return found
        found.end = len(MAGIC)
        while (record := _Record.read(file, size)) is not None and _add(found, record, file, size):
            found.end = file.tell()
    found.is_damaged |= size - found.end > MAX_LEFT_BYTES
    return found


@dataclass(frozen=True, slots=True)
class _Record:
    """Where a whole record stands in a file."""

    opcode: int
    start: int
    length: int  # without opcode and length

    @property
    def end(self) -> int:
        return self.start + RECORD_HEAD_LENGTH + self.length

    @classmethod
    def read(cls, file: BinaryIO, size: int) -> _Record | None:
        """The record at the present offset; None where there is no whole one."""
        start = file.tell()
        head = file.read(RECORD_HEAD_LENGTH)
        if len(head) < RECORD_HEAD_LENGTH:
            return None
        record = cls(head[0], start, int.from_bytes(head[1:], "little"))
        return record if record.end <= size else None


def _add(found: Scan, record: _Record, file: BinaryIO, size: int) -> bool:
    """Add a record; false at the end of the data, and for a record that is damaged."""
    try:
        if record.opcode == Opcode.CHUNK:
            return _add_chunk(found, record, file, size)
        if record.opcode in SMALL:
            _add_small(found, record, file)
            return True
    except DAMAGED:
        found.is_damaged = True
        return False
    found.is_damaged = record.opcode != Opcode.DATA_END
    return False


def _add_chunk(found: Scan, record: _Record, file: BinaryIO, size: int) -> bool:
    """Add a chunk with its message indexes; false where they are not whole."""
    chunk = _chunk_at(record, file)
    file.seek(record.end)
    counts: Counter[int] = Counter()
    end = record.end
    while file.read(1) == MESSAGE_INDEX:
        file.seek(end)
        index = _Record.read(file, size)
        if index is None:
            return False
        file.seek(index.start)
        _, _, channel_id, length = INDEX_HEAD.unpack(file.read(INDEX_HEAD.size))
        counts[channel_id] += length // INDEX_ENTRY_LENGTH
        chunk.message_index_offsets[channel_id] = index.start
        end = index.end
        file.seek(end)
    file.seek(end)
    chunk.message_index_length = end - record.end
    known = {channel.id for channel in found.index.channels}
    if not counts or not counts.keys() <= known:
        return False
    found.index.add_chunk(chunk, counts)
    return True


def _chunk_at(record: _Record, file: BinaryIO) -> ChunkIndex:
    file.seek(record.start)
    _, _, start_ns, end_ns, size, _, name_length = CHUNK_HEAD.unpack(file.read(CHUNK_HEAD.size))
    compression = file.read(name_length).decode("ascii", "replace")
    return ChunkIndex(
        message_start_time=start_ns,
        message_end_time=end_ns,
        chunk_start_offset=record.start,
        chunk_length=RECORD_HEAD_LENGTH + record.length,
        message_index_offsets={},
        message_index_length=0,
        compression=compression,
        compressed_size=int.from_bytes(file.read(8), "little"),
        uncompressed_size=size,
    )


def _add_small(found: Scan, record: _Record, file: BinaryIO) -> None:
    stream = ReadDataStream(BytesIO(file.read(record.length)))
    if record.opcode == Opcode.SCHEMA:
        found.index.schemas.append(Schema.read(stream))
    elif record.opcode == Opcode.CHANNEL:
        channel = Channel.read(stream)
        if channel.schema_id not in {schema.id for schema in found.index.schemas}:
            raise ValueError(f"{channel.topic} has no schema")
        found.index.channels.append(channel)
    elif record.opcode == Opcode.METADATA:
        metadata = Metadata.read(stream)
        found.index.metadata.append(
            MetadataIndex(
                offset=record.start,
                length=RECORD_HEAD_LENGTH + record.length,
                name=metadata.name,
            )
        )
        if metadata.name == RECORD:
            found.info = _info(metadata.metadata[RECORD_KEY])


def _info(text: str) -> EpisodeInfo:
    return EpisodeInfo.from_custom_data(yaml.safe_load(text)["custom_data"])


def _file_of(partial: Path) -> Path:
    return partial / file_name(partial.with_name(partial.name.removesuffix(PARTIAL_SUFFIX)))
