# SPDX-License-Identifier: Apache-2.0
"""Sorts the messages of a bag by their reception. Pure.

A recorder takes the messages of one topic after those of another, and writes them so. On a busy
machine what it takes last was received up to a second before what it took first.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

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
    the clock was set: what was received before comes first, of all topics.

    Args:
        messages: In the order in which they were written.
        topics: Those that may come.
        waiting_bytes: The most that waits for a silent topic.
    """
    waiting: list[tuple[int, int, int, BagMessage]] = []
    reached: dict[str, tuple[int, int]] = {}  # how often its clock was set, and the newest time
    size = 0
    for number, message in enumerate(messages):
        settings, newest_ns = reached.get(message.topic, (0, message.received_ns))
        if message.received_ns < newest_ns - SET_BACK_NS:
            settings, newest_ns = settings + 1, message.received_ns
        reached[message.topic] = (settings, max(newest_ns, message.received_ns))
        heapq.heappush(waiting, (settings, message.received_ns, number, message))
        size += len(message.data)
        slowest = min(reached.values()) if len(reached) == len(topics) else (-1, 0)
        while waiting and (size > waiting_bytes or waiting[0][:2] <= slowest):
            taken = heapq.heappop(waiting)[3]
            size -= len(taken.data)
            yield taken
    while waiting:
        yield heapq.heappop(waiting)[3]
