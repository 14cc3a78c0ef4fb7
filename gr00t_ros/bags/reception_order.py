# SPDX-License-Identifier: Apache-2.0
"""Sorts the messages of a bag by their reception. Pure.

A recorder takes the messages of one topic after those of another, and writes them so. On a busy
machine what it takes last was received up to a second before what it took first.

Within a topic the middleware delivers the messages of a publisher in order. One that was lost and
sent again is stamped later than those behind it, which have waited for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from gr00t_ros.bags.bag_file import BagMessage

WAITING_BYTES = 64_000_000
SET_BACK_NS = 50_000_000  # messages of one topic, from several publishers, may cross by less


def in_order_of_reception(
    messages: Iterable[BagMessage],
    topics: Collection[str],
    *,
    waiting_bytes: int = WAITING_BYTES,
) -> Iterator[BagMessage]:
    """Sort messages by their reception.

    A message waits until every topic has come as far. Where the messages of a topic go back in time
    the clock was set: what was received before comes first, of all topics. Where only their
    reception goes back, and not their publication, they were delivered together.

    Args:
        messages: In the order in which they were written.
        topics: Those that may come.
        waiting_bytes: The most that waits for a silent topic.
    """
    waiting: list[tuple[int, int, int, BagMessage]] = []
    progress: dict[str, _Progress] = {}
    size = 0
    for number, message in enumerate(messages):
        topic = progress.setdefault(message.topic, _Progress())
        received_ns = topic.advance(message)
        if received_ns != message.received_ns:
            message = replace(message, received_ns=received_ns)
        heapq.heappush(waiting, (topic.settings, received_ns, number, message))
        size += len(message.data)
        is_complete = len(progress) == len(topics)
        slowest = min(one.reached for one in progress.values()) if is_complete else (-1, 0)
        while waiting and (size > waiting_bytes or waiting[0][:2] <= slowest):
            taken = heapq.heappop(waiting)[3]
            size -= len(taken.data)
            yield taken
    while waiting:
        yield heapq.heappop(waiting)[3]


class _Progress:
    """How far the messages of one topic have come."""

    def __init__(self) -> None:
        self.settings = 0  # how often the clock was set
        self._received_ns: int | None = None  # the newest since then
        self._published_ns = 0

    @property
    def reached(self) -> tuple[int, int]:
        """How often the clock was set, and the newest reception since then, ns."""
        return self.settings, self._received_ns or 0

    def advance(self, message: BagMessage) -> int:
        """Take the next message; returns when it was delivered, ns."""
        received_ns = message.received_ns
        published_ns = received_ns if message.published_ns is None else message.published_ns
        newest_ns = self._received_ns
        if newest_ns is not None and received_ns < newest_ns - SET_BACK_NS:
            if published_ns >= self._published_ns - SET_BACK_NS:
                received_ns = newest_ns
            else:
                self.settings += 1
                newest_ns = None
        if newest_ns is None:
            self._received_ns, self._published_ns = received_ns, published_ns
        else:
            self._received_ns = max(newest_ns, received_ns)
            self._published_ns = max(self._published_ns, published_ns)
        return received_ns
