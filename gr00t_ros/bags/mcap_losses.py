# SPDX-License-Identifier: Apache-2.0
"""Tells what a damaged MCAP file has lost, as far as the rest of it knows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Loss:
    """A part of a file that cannot be read.

    Args:
        since_ns: When the messages that it had were logged at the earliest, ns.
        until_ns: When they were at the latest, ns.
        size: Its bytes.
        counts: Messages that are known to be lost, by channel id.
        is_counted: Whether these are all.
    """

    since_ns: int
    until_ns: int
    size: int
    counts: Counter[int]
    is_counted: bool


@dataclass(slots=True)
class Losses:
    """The parts of a file that cannot be read, noted while it is read from its beginning.

    Message indexes follow their chunk, and count the messages that were in it.

    Attributes:
        found: The parts.
        count: The gaps so far, with those of the part whose extent is not known yet.
        start_ns: When the first message was logged, ns; 0 before there is one.
        end_ns: When the newest one was, ns.
    """

    found: list[Loss] = field(default_factory=list)
    count: int = 0
    start_ns: int = 0
    end_ns: int = 0
    _span_ns: tuple[int, int] = (0, 0)  # of the chunk, or of the gap without its end
    _size: int = 0  # of what cannot be read since the beginning of that
    _is_chunk: bool = False
    _read: Counter[int] = field(default_factory=Counter)
    _indexed: Counter[int] = field(default_factory=Counter)

    def chunk(self, start_ns: int, end_ns: int) -> None:
        """Note the beginning of a chunk, and when its messages were logged, ns."""
        self._begin((start_ns, end_ns), 0, is_chunk=True)

    def gap(self, size: int) -> None:
        """Note so many bytes between two records."""
        self._begin((self.end_ns, 0), size, is_chunk=False)
        self.count += 1

    def within_chunk(self, size: int) -> None:
        """Note so many bytes in the last chunk."""
        self._size += size
        self.count += 1

    def message(self, channel_id: int, log_ns: int) -> None:
        """Note a message that was read, and when it was logged, ns."""
        self._read[channel_id] += 1
        self._saw(log_ns)

    def index(self, channel_id: int, count: int) -> None:
        """Note a message index of so many messages."""
        self._indexed[channel_id] += count

    def close(self) -> None:
        """Note the end of the file."""
        self._begin((self.end_ns, 0), 0, is_chunk=False)

    def counts(self) -> Counter[int]:
        """The messages that are known to be lost, by channel id."""
        return sum((loss.counts for loss in self.found), Counter())

    def text(self, topics: Mapping[int, str]) -> str:
        """Name what is lost, by the time since the first message; empty where nothing is.

        Args:
            topics: The topics by channel id.
        """
        named = [self._text_of(loss, topics) for loss in self.found[:MAX_NAMED]]
        others = self.found[MAX_NAMED:]
        if others:
            count = sum((loss.counts for loss in others), Counter()).total()
            named.append(f"{len(others)} more parts with at least {count} messages")
        return ", ".join(named)

    def _begin(self, span_ns: tuple[int, int], size: int, *, is_chunk: bool) -> None:
        if self._size:
            since_ns, until_ns = self._span_ns
            loss = Loss(
                since_ns=since_ns,
                until_ns=until_ns or max(span_ns[0], self.end_ns),
                size=self._size,
                counts=self._indexed - self._read,
                is_counted=self._is_chunk and bool(self._indexed),
            )
            self.found.append(loss)
        if is_chunk:
            self._saw(span_ns[0])
        self._span_ns, self._size, self._is_chunk = span_ns, size, is_chunk
        self._read, self._indexed = Counter(), Counter()

    def _saw(self, log_ns: int) -> None:
        self.start_ns = min(self.start_ns, log_ns) if self.start_ns else log_ns
        self.end_ns = max(self.end_ns, log_ns)

    def _text_of(self, loss: Loss, topics: Mapping[int, str]) -> str:
        since_s, until_s = (
            max(0, (ns or self.start_ns) - self.start_ns) * 1e-9
            for ns in (loss.since_ns, loss.until_ns)
        )
        counts = Counter[str]()
        for channel_id, count in loss.counts.items():
            counts[topics.get(channel_id, f"channel {channel_id}")] += count
        what = " and ".join(f"{count} of {topic}" for topic, count in sorted(counts.items()))
        if not loss.is_counted:
            what = f"at least {what}" if what else "an unknown number of messages"
            what += f" ({loss.size} bytes)"
        return f"from {since_s:.2f} s to {until_s:.2f} s {what}"
