# SPDX-License-Identifier: Apache-2.0
"""The index of an MCAP file: what its end tells readers about everything before. Pure.

The records are those of the `mcap` library; https://mcap.dev/spec describes them.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    McapRecord,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
FOOTER_START = struct.Struct("<BQQQ")  # the part of the footer that its checksum covers
FOOTER_LENGTH = 20


@dataclass(slots=True)
class McapIndex:
    """What is in the data section of a file; grows with it.

    Args:
        schemas: The message types.
        channels: The topics.
        chunks: Where the chunks are.
        metadata: Where the metadata records are.
        counts: Messages of each chunk by channel id, in the order of `chunks`.
    """

    schemas: list[Schema] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: list[Counter[int]] = field(default_factory=list)

    def add_chunk(self, chunk: ChunkIndex, counts: Counter[int]) -> None:
        """Add a chunk with the number of its messages by channel id."""
        self.chunks.append(chunk)
        self.counts.append(counts)

    def drop_last_chunk(self) -> int:
        """Forget the last chunk and what came after it.

        Returns:
            Where that chunk begins, which is where the data section now ends.
        """
        start = int(self.chunks.pop().chunk_start_offset)
        self.counts.pop()
        self.metadata = [record for record in self.metadata if record.offset < start]
        return start

    @property
    def start_ns(self) -> int:
        """The earliest log time, ns; 0 without messages."""
        return min((chunk.message_start_time for chunk in self.chunks), default=0)

    @property
    def end_ns(self) -> int:
        """The latest log time, ns; 0 without messages."""
        return max((chunk.message_end_time for chunk in self.chunks), default=0)

    def counts_by_channel(self) -> Counter[int]:
        """The number of messages by channel id."""
        return sum(self.counts, Counter())

    def end_of_file(self, data_end: int) -> bytes:
        """The bytes that end a file: end of data, summary, footer and magic.

        Args:
            data_end: Offset of the end of the data section, which these bytes follow.
        """
        end = RecordBuilder()
        DataEnd(data_section_crc=0).write(end)
        summary_start = data_end + end.count
        summary = RecordBuilder()
        offsets = [
            _write_group(summary, summary_start, opcode, records)
            for opcode, records in self._groups()
            if records
        ]
        offset_start = summary_start + summary.count
        for offset in offsets:
            offset.write(summary)
        body = bytes(summary.end())
        head = FOOTER_START.pack(Opcode.FOOTER, FOOTER_LENGTH, summary_start, offset_start)
        Footer(
            summary_start=summary_start,
            summary_offset_start=offset_start,
            summary_crc=zlib.crc32(head, zlib.crc32(body)),
        ).write(end)
        data_end_and_footer = bytes(end.end())
        split = summary_start - data_end
        return data_end_and_footer[:split] + body + data_end_and_footer[split:] + MAGIC

    def _groups(self) -> list[tuple[int, Sequence[McapRecord]]]:
        return [
            (Opcode.SCHEMA, self.schemas),
            (Opcode.CHANNEL, self.channels),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self.chunks),
            (Opcode.METADATA_INDEX, self.metadata),
        ]

    def _statistics(self) -> Statistics:
        counts = self.counts_by_channel()
        return Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=dict(counts),
            chunk_count=len(self.chunks),
            message_count=counts.total(),
            message_end_time=self.end_ns,
            message_start_time=self.start_ns,
            metadata_count=len(self.metadata),
            schema_count=len(self.schemas),
        )


def _write_group(
    summary: RecordBuilder, summary_start: int, opcode: int, records: Sequence[McapRecord]
) -> SummaryOffset:
    start = summary.count
    for record in records:
        record.write(summary)
    return SummaryOffset(
        group_opcode=opcode,
        group_start=summary_start + start,
        group_length=summary.count - start,
    )
