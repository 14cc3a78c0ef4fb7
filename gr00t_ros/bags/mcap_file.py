# SPDX-License-Identifier: Apache-2.0
"""Reads one MCAP file of a bag: what is sound of it, and what it has lost."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mcap.exceptions import UnsupportedCompressionError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import get_chunk_data_stream

from gr00t_ros.bags.bag_file import BagError, BagMessage
from gr00t_ros.bags.mcap_index import MAGIC
from gr00t_ros.bags.mcap_losses import Losses
from gr00t_ros.bags.mcap_records import (
    BROKEN,
    KINDS,
    LAST,
    Ending,
    Gap,
    Read,
    Record,
    ending,
    parse,
    reader_of,
    walk,
)
from gr00t_ros.bags.mcap_writer import (
    CHUNK_HEAD,
    INDEX_ENTRY_LENGTH,
    INDEX_HEAD,
    MESSAGE_HEAD,
)

ENCODING = "cdr"
ROSBAG2, SERIALIZED = "rosbag2", "serialized_metadata"  # the metadata record of rosbag2
CUT_OFF = "{} has no end, its recorder was killed: it was read up to its last whole chunk"
NO_END = (
    "{} has no end: its recorder was killed, or its last record is damaged; it was read up to there"
)
DAMAGED = "{} is damaged, it was read up to there"
LOST = "{} is damaged, the rest was read; lost: {}"
FLIPPED = "{} is damaged: its checksum is wrong, some of its data differ from what was written"
ENDINGS = {Ending.CUT_OFF: CUT_OFF, Ending.EITHER: NO_END, Ending.DAMAGED: DAMAGED}
BLOCK = 1 << 20


class McapFile:
    """A ``.mcap`` file, see `BagFile`.

    Attributes:
        losses: What of the file was lost; known after all records were read.

    Raises:
        BagError: It is not an MCAP file, or not of ROS 2.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.truncated = ""
        self.losses = Losses()
        self.duration_s = 0.0
        self.topics: dict[str, str] = {}
        self.custom_data: dict[str, str] = {}
        self._names: dict[int, str] = {}  # topics by channel id, as far as they are known
        self._nameless = 0  # messages of others
        summary = self._summary()
        for channel in summary.channels.values() if summary is not None else ():
            self._names[channel.id] = channel.topic
            self._add_topic(channel, summary.schemas.get(channel.schema_id))
        if summary is None or summary.statistics is None:
            self._scan()
            return
        times = summary.statistics
        self.duration_s = (times.message_end_time - times.message_start_time) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order in which they were written."""
        for record in self.records():
            if isinstance(record, Message) and self._names.get(record.channel_id) in topics:
                name = self._names[record.channel_id]
                yield BagMessage(
                    name,
                    record.data,
                    record.log_time,
                    self.losses.count,
                    record.publish_time or None,
                )

    def lost_by_topic(self) -> Counter[str]:
        """The messages that are known to be lost, by topic; after all records were read."""
        lost: Counter[str] = Counter()
        for channel_id, count in self.losses.counts().items():
            lost[self._names.get(channel_id, f"channel {channel_id}")] += count
        return lost

    def _summary(self) -> Any:
        """What the end of the file says; None for a file without an end."""
        with self._path.open("rb") as stream:
            if stream.read(5) != b"\x89MCAP":
                raise BagError(f"{self._path}: is not an MCAP file")
            stream.seek(0)
            summary = None
            try:
                reader = SeekingReader(stream)
                summary = reader.get_summary()
                for record in reader.iter_metadata() if summary is not None else ():
                    self._add_metadata(record)
            except (*BROKEN, OSError, IndexError):
                pass
            return summary

    def _scan(self) -> None:
        """Read a file without an end once, for its topics and its times."""
        schemas: dict[int, Schema] = {}
        times_ns: list[int] = []
        for record in self.records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                self._add_topic(record, schemas.get(record.schema_id))
            elif isinstance(record, Metadata):
                self._add_metadata(record)
            elif isinstance(record, Message):
                times_ns = [min([*times_ns[:1], record.log_time]), record.log_time]
        if times_ns:
            self.duration_s = (times_ns[1] - times_ns[0]) * 1e-9

    def records(self) -> Iterator[McapRecord]:
        """Yield the sound schemas, channels, metadata and messages in order, from chunks, too.

        `truncated` and `losses` say afterwards what could not be read.
        """
        self.losses, self._nameless = Losses(), 0
        with self._path.open("rb") as stream:
            read, size = reader_of(stream), os.fstat(stream.fileno()).st_size
            last: Record | Gap | None = None
            for last in walk(read, len(MAGIC), size):
                if isinstance(last, Gap):
                    if last.end < size or _is_finished(stream):
                        self.losses.gap(last.end - last.start)
                    continue
                for record in self._records_of(read, last):
                    self._note(record)
                    yield record
            self.losses.close()
            self.truncated = self._why_not_whole(stream, last, size)

    def _records_of(self, read: Read, place: Record) -> Iterator[McapRecord]:
        if place.opcode == Opcode.CHUNK:
            yield from self._records_in(read, place)
        elif place.opcode == Opcode.MESSAGE_INDEX:
            _, _, channel_id, length = INDEX_HEAD.unpack(read(place.start, INDEX_HEAD.size))
            self.losses.index(channel_id, length // INDEX_ENTRY_LENGTH)
        elif place.opcode == Opcode.MESSAGE:
            yield _message(read, place)
        elif place.opcode in KINDS:
            yield parse(read, place)

    def _records_in(self, read: Read, place: Record) -> Iterator[McapRecord]:
        """Yield the records in a chunk."""
        _, _, start_ns, end_ns, *_ = CHUNK_HEAD.unpack(read(place.start, CHUNK_HEAD.size))
        self.losses.chunk(start_ns, end_ns)
        try:
            data = _data(read, place)
        except UnsupportedCompressionError as error:
            raise BagError(f"{self._path}: {error}; install zstandard and lz4") from error
        except Exception:  # decompression libraries raise errors of their own
            self.losses.within_chunk(place.length)
            return

        def read_data(start: int, length: int) -> bytes:
            return data[start : start + length]

        for inner in walk(read_data, 0, len(data), time_ns=start_ns):
            if isinstance(inner, Gap):
                self.losses.within_chunk(inner.end - inner.start)
            elif inner.opcode == Opcode.MESSAGE:
                yield _message(read_data, inner)
            elif inner.opcode in KINDS:
                yield parse(read_data, inner)

    def _note(self, record: McapRecord) -> None:
        if isinstance(record, Message):
            self.losses.message(record.channel_id, record.log_time)
            self._nameless += record.channel_id not in self._names
        elif isinstance(record, Channel):
            self._names[record.id] = record.topic

    def _why_not_whole(self, stream: BinaryIO, last: Record | Gap | None, size: int) -> str:
        """What is wrong with the file, after its last record or gap; empty for a whole one."""
        name = self._path.name
        lost = self.losses.text(self._names)
        if self._nameless:
            nameless = f"the topic of {self._nameless} messages"
            lost = f"{lost}, {nameless}" if lost else nameless
        parts = [LOST.format(name, lost)] if lost else []
        if isinstance(last, Record) and last.opcode in LAST:
            if not parts and _is_flipped(reader_of(stream), last):
                parts.append(FLIPPED.format(name))
        elif not _is_finished(stream):
            is_gap = isinstance(last, Gap)
            kind = ending(reader_of(stream), last.start, size) if is_gap else Ending.CUT_OFF
            parts.append(ENDINGS[kind].format(name))
        return "; ".join(parts)

    def _add_topic(self, channel: Channel, schema: Schema | None) -> None:
        if channel.message_encoding != ENCODING:
            if channel.message_encoding == "ros1":
                raise BagError(f"{self._path}: is a bag of ROS 1; convert it: rosbags-convert")
            return  # others may write JSON or protobuf beside it
        self.topics[channel.topic] = schema.name if schema is not None else ""

    def _add_metadata(self, record: Metadata) -> None:
        if record.name != ROSBAG2:
            return
        try:
            content = yaml.safe_load(record.metadata.get(SERIALIZED, ""))
        except yaml.YAMLError:
            return
        custom_data = content.get("custom_data") if isinstance(content, dict) else None
        if isinstance(custom_data, dict):
            self.custom_data = custom_data


def _message(read: Read, place: Record) -> Message:
    _, _, channel_id, sequence, log_ns, publish_ns = MESSAGE_HEAD.unpack(
        read(place.start, MESSAGE_HEAD.size)
    )
    data_start = place.start + MESSAGE_HEAD.size
    return Message(
        channel_id=channel_id,
        log_time=log_ns,
        data=read(data_start, place.end - data_start),
        publish_time=publish_ns,
        sequence=sequence,
    )


def _data(read: Read, place: Record) -> bytes:
    """The records in a chunk, as bytes."""
    head = read(place.start, CHUNK_HEAD.size)
    _, _, start_ns, end_ns, size, checksum, name_length = CHUNK_HEAD.unpack(head)
    name_end = place.start + len(head) + name_length
    data_start = name_end + 8
    chunk = Chunk(
        compression=read(name_end - name_length, name_length).decode(),
        data=read(data_start, place.end - data_start),
        message_start_time=start_ns,
        message_end_time=end_ns,
        uncompressed_crc=checksum,
        uncompressed_size=size,
    )
    stream, length = get_chunk_data_stream(chunk, validate_crc=True)
    return stream.read(length)


def _is_finished(stream: BinaryIO) -> bool:
    """Whether a file has an end."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(MAGIC)))
    return size > len(MAGIC) and stream.read() == MAGIC


def _is_flipped(read: Read, last: Record) -> bool:
    """Whether the data differ from what the checksum at their end says, if there is one."""
    told = int.from_bytes(read(last.content, 4), "little") if last.opcode == Opcode.DATA_END else 0
    if told == 0:
        return False
    checksum = 0
    for start in range(0, last.start, BLOCK):
        checksum = zlib.crc32(read(start, min(BLOCK, last.start - start)), checksum)
    return checksum != told
