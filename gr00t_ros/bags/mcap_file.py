# SPDX-License-Identifier: Apache-2.0
"""Reads one MCAP file of a bag by the `mcap` library."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mcap.exceptions import McapError, RecordLengthLimitExceeded
from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import StreamReader

from gr00t_ros.bags.bag_file import BagError, BagMessage
from gr00t_ros.bags.mcap_index import MAGIC

ENCODING = "cdr"
ROSBAG2, SERIALIZED = "rosbag2", "serialized_metadata"  # the metadata record of rosbag2
CUT_OFF = "{} has no end, its recorder was killed: it was read up to its last whole chunk"
DAMAGED = "{} is damaged, it was read up to there: {}"


class McapFile:
    """A ``.mcap`` file, see `BagFile`.

    Raises:
        BagError: It is not an MCAP file, or not of ROS 2.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.truncated = ""
        self.duration_s = 0.0
        self.topics: dict[str, str] = {}
        self.custom_data: dict[str, str] = {}
        summary = self._summary()
        if summary is None or summary.statistics is None:
            self._scan()
            return
        for channel in summary.channels.values():
            self._add_topic(channel, summary.schemas.get(channel.schema_id))
        times = summary.statistics
        self.duration_s = (times.message_end_time - times.message_start_time) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order in which they were written."""
        names: dict[int, str] = {}
        for record in self._records():
            if isinstance(record, Channel) and record.topic in topics:
                names[record.id] = record.topic
            elif isinstance(record, Message) and record.channel_id in names:
                yield BagMessage(names[record.channel_id], record.data, record.log_time)

    def _summary(self) -> Any:
        """What the end of the file says; None for a file without an end."""
        with self._path.open("rb") as stream:
            if stream.read(5) != b"\x89MCAP":
                raise BagError(f"{self._path}: is not an MCAP file")
            try:
                reader = SeekingReader(stream)
                summary = reader.get_summary()
                for record in reader.iter_metadata() if summary is not None else ():
                    self._add_metadata(record)
                return summary
            except (McapError, EOFError, struct.error, OSError, ValueError, IndexError):
                return None

    def _scan(self) -> None:
        """Read a file without an end once, for its topics and its times."""
        schemas: dict[int, Schema] = {}
        times_ns: list[int] = []
        for record in self._records():
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

    def _records(self) -> Iterator[Any]:
        """Yield the records in order, those in chunks too, as far as the file is whole."""
        size = self._path.stat().st_size
        with self._path.open("rb") as stream:
            reader = StreamReader(stream, validate_crcs=True, record_size_limit=size)
            try:
                yield from reader.records
            except Exception as error:  # decompression libraries raise errors of their own
                self.truncated = self._why_it_stopped(stream, error)

    def _why_it_stopped(self, stream: BinaryIO, error: Exception) -> str:
        """Tell a file that a killed recorder left from one that is damaged.

        A record that is not whole is the last of an unfinished file. In a file with an end, its
        length is wrong.
        """
        position = stream.tell()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(MAGIC)))
        is_finished = size > len(MAGIC) and stream.read() == MAGIC
        is_too_long = position == size or isinstance(error, RecordLengthLimitExceeded)
        if is_too_long and not is_finished:
            return CUT_OFF.format(self._path.name)
        why = "a record is longer than the rest of the file" if is_too_long else error
        return DAMAGED.format(self._path.name, why)

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
