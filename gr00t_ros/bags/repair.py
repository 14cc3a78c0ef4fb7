# SPDX-License-Identifier: Apache-2.0
"""Makes bags of what a recorder left that was killed. Pure.

A file that only lacks its end gets one, in place. Of one that is damaged before its end, what is
sound is copied, and the damaged file stays beside the copy.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    McapRecord,
    Message,
    Metadata,
    MetadataIndex,
    Schema,
)

from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.bag_metadata import FILE, RECORD, RECORD_KEY, BagMetadata, write_synced
from gr00t_ros.bags.episode_info import PARTIAL_SUFFIX, UNFINISHED, EpisodeInfo
from gr00t_ros.bags.mcap_file import McapFile
from gr00t_ros.bags.mcap_index import MAGIC, McapIndex
from gr00t_ros.bags.mcap_records import LAST, Gap, Read, Record, parse, reader_of, walk
from gr00t_ros.bags.mcap_writer import (
    CHUNK_FIELDS_LENGTH,
    CHUNK_HEAD,
    INDEX_ENTRY_LENGTH,
    INDEX_HEAD,
    NO_COMPRESSION,
    McapWriter,
)
from gr00t_ros.bags.writer import LIBRARY, bag_metadata, file_name, publish, topic_of

MESSAGE_INDEX = bytes([Opcode.MESSAGE_INDEX])
# A killed recorder leaves less than this behind the last whole record: a chunk.
MAX_LEFT_BYTES = 64 * 1024 * 1024
# What a record raises that is not what it says it is.
DAMAGED = (McapError, struct.error, yaml.YAMLError, ValueError, TypeError, KeyError)
DAMAGED_SUFFIX = ".damaged"  # of the file that a copy was made of
COPY_SUFFIX = ".new"  # of the copy until it is whole


@dataclass(slots=True)
class Scan:
    """A file without an end, read up to the last record that is sound.

    Args:
        index: What is in it.
        end: Offset of the end of the last whole record.
        info: The episode, as the newest metadata record tells it.
        is_damaged: Whether there is more behind a record that is not what it says it is.
        chunk: The last chunk, while its message indexes come.
    """

    index: McapIndex
    end: int
    info: EpisodeInfo
    is_damaged: bool = False
    chunk: ChunkIndex | None = None
    _counts: Counter[int] = field(default_factory=Counter)
    _chunk_end: int = 0

    def add_index(self, channel_id: int, count: int, record: Record) -> None:
        """Add a message index of the last chunk.

        Raises:
            ValueError: There is no chunk before it, or no such channel.
        """
        if self.chunk is None or channel_id not in {entry.id for entry in self.index.channels}:
            raise ValueError(f"a message index of channel {channel_id} belongs to nothing")
        self.chunk.message_index_offsets[channel_id] = record.start
        self.chunk.message_index_length += record.end - record.start
        self._counts[channel_id] += count
        self._chunk_end = record.end

    def end_chunk(self) -> None:
        """Take the last chunk in, if it is indexed."""
        if self.chunk is not None and self._counts:
            self.index.add_chunk(self.chunk, self._counts)
            self.end = self._chunk_end
        self.chunk, self._counts = None, Counter()


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
    """Make a truncated bag of an unfinished episode.

    Args:
        partial: The folder that a recorder left.

    Returns:
        The folder of the bag; None where no message was in it, and it was removed; `partial` where
        the file is damaged so that no message can be read, and was left as it is.

    Raises:
        OSError: It cannot be read or written; a damaged file is left as it is.
    """
    path = _file_of(partial)
    damaged = path.with_name(path.name + DAMAGED_SUFFIX)
    if damaged.is_file() and not path.is_file():  # where an earlier repair was killed
        damaged.rename(path)
    found = scan(path) if path.is_file() else Scan(McapIndex(), 0, EpisodeInfo())
    if found.is_damaged:
        return _salvage(partial, found)
    if not found.index.chunks:
        shutil.rmtree(partial)
        return None
    info = replace(found.info, truncated=found.info.truncated or UNFINISHED)
    with open(path, "r+b") as file:
        file.truncate(found.end)
        file.seek(found.end)
        file.write(found.index.end_of_file(found.end))
        file.flush()
        os.fsync(file.fileno())
    return _publish(partial, found.index, info)


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
        read = reader_of(file)
        for record in walk(read, len(MAGIC), size):
            if isinstance(record, Gap):
                _end_at(found, record, read, size)
                break
            if record.opcode in LAST:
                break
            try:
                _add(found, record, read)
            except DAMAGED:
                found.is_damaged = True
                break
    found.end_chunk()
    return found


def _end_at(found: Scan, gap: Gap, read: Read, size: int) -> None:
    """End the scan at what is no sound record."""
    found.is_damaged = gap.end < size or size - gap.start > MAX_LEFT_BYTES
    if read(gap.start, 1) == MESSAGE_INDEX:
        found.chunk = None  # it is not indexed whole


def _add(found: Scan, record: Record, read: Read) -> None:
    """Add a record.

    Raises:
        Exception: One of `DAMAGED`; it is not what our writer writes there.
    """
    if record.opcode == Opcode.MESSAGE_INDEX:
        _, _, channel_id, length = INDEX_HEAD.unpack(read(record.start, INDEX_HEAD.size))
        found.add_index(channel_id, length // INDEX_ENTRY_LENGTH, record)
        return
    found.end_chunk()
    if record.is_mended:
        raise ValueError("a length is damaged")
    if record.opcode == Opcode.CHUNK:
        found.chunk = _chunk_at(record, read)
        return
    _add_small(found, parse(read, record), record)
    found.end = record.end


def _chunk_at(record: Record, read: Read) -> ChunkIndex:
    _, _, start_ns, end_ns, size, _, name_length = CHUNK_HEAD.unpack(
        read(record.start, CHUNK_HEAD.size)
    )
    name = read(record.start + CHUNK_HEAD.size, name_length).decode("ascii")
    return ChunkIndex(
        message_start_time=start_ns,
        message_end_time=end_ns,
        chunk_start_offset=record.start,
        chunk_length=record.end - record.start,
        message_index_offsets={},
        message_index_length=0,
        compression=name,
        compressed_size=record.length - CHUNK_FIELDS_LENGTH - name_length,
        uncompressed_size=size,
    )


def _add_small(found: Scan, parsed: McapRecord, record: Record) -> None:
    if isinstance(parsed, Schema):
        found.index.schemas.append(parsed)
    elif isinstance(parsed, Channel):
        if parsed.schema_id not in {schema.id for schema in found.index.schemas}:
            raise ValueError(f"{parsed.topic} has no schema")
        found.index.channels.append(parsed)
    elif isinstance(parsed, Metadata):
        length = record.end - record.start
        found.index.metadata.append(
            MetadataIndex(offset=record.start, length=length, name=parsed.name)
        )
        found.info = _info(parsed) or found.info


def _salvage(partial: Path, found: Scan) -> Path:
    """Make a bag of what is sound in a damaged file; `partial` where nothing is."""
    path = _file_of(partial)
    copy = path.with_name(path.name + COPY_SUFFIX)
    copy.unlink(missing_ok=True)
    try:
        file = McapFile(path)
    except BagError:
        return partial
    writer = McapWriter(copy, library=LIBRARY, compression=_compression(found))
    try:
        info = _copy(file, writer)
        if writer.index.chunks:
            writer.add_metadata(
                RECORD, {RECORD_KEY: _metadata(path, writer.index, info).as_record()}
            )
            writer.finish()
    except OSError as error:
        copy.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return partial
    finally:
        writer.close()
    if not writer.index.chunks:
        copy.unlink()
        return partial
    path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
    copy.rename(path)
    return _publish(partial, writer.index, info)


def _copy(file: McapFile, writer: McapWriter) -> EpisodeInfo:
    """Copy the sound messages of a file, and return the episode with what it has lost."""
    info = EpisodeInfo()
    schemas: dict[int, Schema] = {}
    added: dict[int, int] = {}  # the new ids of schemas by their old ones, ...
    channels: dict[int, int] = {}  # ... and of channels
    for record in file.records():
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in channels:
            if (schema := schemas.get(record.schema_id)) is None:
                continue
            if schema.id not in added:
                text = schema.data.decode(errors="replace")
                added[schema.id] = writer.add_schema(schema.name, schema.encoding, text)
            channels[record.id] = writer.add_channel(
                record.topic, added[schema.id], record.metadata
            )
        elif isinstance(record, Message) and record.channel_id in channels:
            writer.add_message(
                channels[record.channel_id],
                record.data,
                log_ns=record.log_time,
                publish_ns=record.publish_time,
                sequence=record.sequence,
            )
        elif isinstance(record, Metadata):
            info = _info(record) or info
    writer.flush()
    return replace(
        info,
        truncated=f"{info.truncated or UNFINISHED}; {file.truncated}",
        dropped=dict(Counter(info.dropped) + file.lost_by_topic()),
    )


def _compression(found: Scan) -> str:
    named = found.index.chunks[0].compression if found.index.chunks else ""
    return named if named in ("lz4", "zstd") else NO_COMPRESSION


def _publish(partial: Path, index: McapIndex, info: EpisodeInfo) -> Path:
    path = _file_of(partial)
    write_synced(partial / FILE, _metadata(path, index, info).as_file())
    return publish(partial, _bag_of(partial), info)


def _metadata(path: Path, index: McapIndex, info: EpisodeInfo) -> BagMetadata:
    schemas = {schema.id: schema for schema in index.schemas}
    topics = [topic_of(channel, schemas[channel.schema_id]) for channel in index.channels]
    return bag_metadata(path.name, topics, index, info)


def _info(record: Metadata) -> EpisodeInfo | None:
    """What a metadata record says of the episode; None where it says nothing, or is damaged."""
    if record.name != RECORD:
        return None
    try:
        content = yaml.safe_load(record.metadata[RECORD_KEY])
        return EpisodeInfo.from_custom_data(content["custom_data"])
    except DAMAGED:
        return None


def _bag_of(partial: Path) -> Path:
    return partial.with_name(partial.name.removesuffix(PARTIAL_SUFFIX))


def _file_of(partial: Path) -> Path:
    return partial / file_name(_bag_of(partial))
