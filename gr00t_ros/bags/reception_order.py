# SPDX-License-Identifier: Apache-2.0
"""Sorts the messages of a bag by their reception. Pure.

A recorder takes the messages of one topic after those of another, and writes them so. On a busy
machine what it takes last was received up to a second before what it took first.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from gr00t_ros.bags.bag_file import BagMessage

WINDOW_NS = 2_000_000_000
SET_BACK_NS = 50_000_000  # messages of one topic, from several publishers, may cross by less


def in_order_of_reception(
    messages: Iterable[BagMessage], topics: Collection[str]
) -> Iterator[BagMessage]:
    """Sort messages by their reception.

    A message waits until every topic has come as far, or any topic is two seconds further. Where
    the messages of a topic go back in time the clock was set: the messages before come first.

    Args:
        messages: In the order in which they were written.
        topics: Those that may come.
    """
    waiting: list[tuple[int, int, BagMessage]] = []
    newest_ns: dict[str, int] = {}
    for number, message in enumerate(messages):
        topic, received_ns = message.topic, message.received_ns
        if received_ns < newest_ns.get(topic, received_ns) - SET_BACK_NS:
            yield from _taken(waiting)
            newest_ns.clear()
        newest_ns[topic] = max(received_ns, newest_ns.get(topic, received_ns))
        heapq.heappush(waiting, (received_ns, number, message))
        reached_ns = max(newest_ns.values()) - WINDOW_NS
        if len(newest_ns) == len(topics):
            reached_ns = max(reached_ns, min(newest_ns.values()))
        yield from _taken(waiting, reached_ns)
    yield from _taken(waiting)


def _taken(
    waiting: list[tuple[int, int, BagMessage]], until_ns: int | None = None
) -> Iterator[BagMessage]:
    while waiting and (until_ns is None or waiting[0][0] <= until_ns):
        yield heapq.heappop(waiting)[2]
