# SPDX-License-Identifier: Apache-2.0
"""Writes MCAP files that a killed process leaves readable. Pure.

The `mcap` library has a writer, too. That one ends a chunk only when it is full, which at low rates
is after minutes, copies each message six times, and cannot end a file after a failed write. The
records themselves are the library's.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Header, McapRecord, Metadata, MetadataIndex, Schema

from gr00t_ros.bags.mcap_index import MAGIC, McapIndex

NO_COMPRESSION = "none"
CHUNK_BYTES = 4 * 1024 * 1024

MESSAGE_HEAD = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log and publish time
MESSAGE_FIELDS_LENGTH = 22  # of a message record beside its data
CHUNK_HEAD = struct.Struct("<BQQQQII")  # opcode, length, start, end, size, no checksum, name length
CHUNK_FIELDS_LENGTH = 40  # of a chunk record beside its data and the name of its compression
INDEX_HEAD = struct.Struct("<BQHI")  # opcode, length, channel, length of the entries
INDEX_ENTRY_LENGTH = 16


class McapWriter:
    """One MCAP file being written. Not safe between threads.

    The file is locked as long as it is open: a file that is not locked has no writer.

    Args:
        path: The file, which must not exist yet.
        library: Name of the writing software for the file's header.
        compression: ``none``, ``lz4`` or ``zstd``, of the chunks.

    Raises:
        OSError: The file cannot be made.
        ImportError: The library of the compression is not installed.
    """

    def __init__(self, path: Path, *, library: str, compression: str = NO_COMPRESSION) -> None:
        self._compress: Final = compressor(compression)
        self._compression = "" if compression == NO_COMPRESSION else compression
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - open until `finish` or `close`
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._end = 0  # of the last record that was written whole
        self._chunk = _Chunk()
        self.index = McapIndex()
        head = RecordBuilder()
        Header(profile="ros2", library=library).write(head)
        self._append(MAGIC + head.end())

    @property
    def size(self) -> int:
        """The bytes written so far, without the chunk that is open."""
        return self._end

    def add_schema(self, name: str, encoding: str, text: str) -> int:
        """Add a message type, and return its id."""
        schema = Schema(
            id=len(self.index.schemas) + 1, name=name, encoding=encoding, data=text.encode()
        )
        self._append_record(schema)
        self.index.schemas.append(schema)
        return schema.id

    def add_channel(self, topic: str, schema_id: int, metadata: Mapping[str, str]) -> int:
        """Add a topic whose messages are serialized as CDR, and return its id."""
        channel = Channel(
            id=len(self.index.channels) + 1,
            topic=topic,
            message_encoding="cdr",
            schema_id=schema_id,
            metadata=dict(metadata),
        )
        self._append_record(channel)
        self.index.channels.append(channel)
        return channel.id

    def add_message(
        self, channel_id: int, data: bytes, *, log_ns: int, publish_ns: int, sequence: int = 0
    ) -> None:
        """Add a message to the open chunk, and write the chunk once it is full.

        Args:
            channel_id: As `add_channel` returned it.
            data: The serialized message.
            log_ns: When it was received, ns.
            publish_ns: When it was published, ns.
            sequence: The publisher's count of it, 0 where that is not known.

        Raises:
            OSError: The chunk cannot be written; the file stays as it was before it.
        """
        self._chunk.add(channel_id, data, log_ns, publish_ns, sequence)
        if self._chunk.size >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the open chunk.

        Raises:
            OSError: It cannot be written and is lost; the file stays as it was before it.
        """
        chunk, self._chunk = self._chunk, _Chunk()
        if not chunk.counts:
            return
        data = b"".join(chunk.parts)
        record = ChunkIndex(
            message_start_time=chunk.start_ns,
            message_end_time=chunk.end_ns,
            chunk_start_offset=self._end,
            chunk_length=0,
            message_index_offsets={},
            message_index_length=0,
            compression=self._compression,
            compressed_size=0,
            uncompressed_size=len(data),
        )
        compressed = self._compress(data)
        head = _chunk_head(record, compressed)
        record.compressed_size = len(compressed)
        record.chunk_length = len(head) + len(compressed)
        index = chunk.message_indexes(self._end + record.chunk_length, record.message_index_offsets)
        record.message_index_length = len(index)
        self._append(head, compressed, index)
        self.index.add_chunk(record, chunk.counts)

    def add_metadata(self, name: str, entries: Mapping[str, str]) -> None:
        """Write a metadata record, after the chunk that is open.

        Raises:
            OSError: It cannot be written; the file stays as it was before it.
        """
        self.flush()
        start = self._end
        self._append_record(Metadata(name=name, metadata=dict(entries)))
        self.index.metadata.append(MetadataIndex(offset=start, length=self._end - start, name=name))

    def drop_last_chunk(self) -> bool:
        """Remove the last chunk and everything after it, to make room on a full disk.

        Returns:
            Whether there was one.
        """
        self._chunk = _Chunk()
        if not self.index.chunks:
            return False
        self._end = self.index.drop_last_chunk()
        self._cut()
        return True

    def finish(self) -> None:
        """Write the end of the file, bring all of it to the disk, and close it.

        Raises:
            OSError: The disk is full; the file is open and as it was before.
        """
        self.flush()
        self._append(self.index.end_of_file(self._end))
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Close the file as it is, if it is open."""
        self._file.close()

    def _append_record(self, record: McapRecord) -> None:
        builder = RecordBuilder()
        record.write(builder)
        self._append(builder.end())

    def _append(self, *parts: bytes) -> None:
        """Write all of it or nothing."""
        try:
            for part in parts:
                self._write_all(part)
        except OSError:
            self._cut()
            raise
        self._end += sum(map(len, parts))

    def _cut(self) -> None:
        """Remove what stands after the last whole record."""
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _write_all(self, part: bytes) -> None:
        view = memoryview(part)
        while view:
            written = self._file.write(view)
            view = view[written:]


class _Chunk:
    """The messages of a chunk that is not written yet."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.start_ns = 0
        self.end_ns = 0
        self.counts: Counter[int] = Counter()
        self._entries: dict[int, list[int]] = {}

    def add(
        self, channel_id: int, data: bytes, log_ns: int, publish_ns: int, sequence: int
    ) -> None:
        length = MESSAGE_FIELDS_LENGTH + len(data)
        head = MESSAGE_HEAD.pack(
            Opcode.MESSAGE, length, channel_id, sequence & 0xFFFFFFFF, log_ns, publish_ns
        )
        self.parts += (head, data)
        self._entries.setdefault(channel_id, []).extend((log_ns, self.size))
        self.start_ns = min(self.start_ns, log_ns) if self.counts else log_ns
        self.end_ns = max(self.end_ns, log_ns)
        self.counts[channel_id] += 1
        self.size += len(head) + len(data)

    def message_indexes(self, start: int, offsets: dict[int, int]) -> bytes:
        """The message index records of the chunk.

        Args:
            start: Offset of these records in the file.
            offsets: Filled with the offset of each record by channel id.
        """
        indexes = bytearray()
        for channel_id, entries in self._entries.items():
            offsets[channel_id] = start + len(indexes)
            length = len(entries) // 2 * INDEX_ENTRY_LENGTH
            indexes += INDEX_HEAD.pack(Opcode.MESSAGE_INDEX, length + 6, channel_id, length)
            indexes += struct.pack(f"<{len(entries)}Q", *entries)
        return bytes(indexes)


def _chunk_head(record: ChunkIndex, compressed: bytes) -> bytes:
    """The chunk record up to its data."""
    name = record.compression.encode()
    head = CHUNK_HEAD.pack(
        Opcode.CHUNK,
        CHUNK_FIELDS_LENGTH + len(name) + len(compressed),
        record.message_start_time,
        record.message_end_time,
        record.uncompressed_size,
        0,
        len(name),
    )
    return head + name + struct.pack("<Q", len(compressed))


def compressor(compression: str) -> Callable[[bytes], bytes]:
    """The function that compresses a chunk.

    Args:
        compression: ``none``, ``lz4`` or ``zstd``.

    Raises:
        ImportError: The library that it needs is not installed.
    """
    if compression == "lz4":
        import lz4.frame

        return lambda data: bytes(lz4.frame.compress(data))
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress
    return lambda data: data
