# SPDX-License-Identifier: Apache-2.0
"""Messages of a bag by their reception, however late the recorder has written a topic."""

from __future__ import annotations

from gr00t_ros.bags.bag_file import BagMessage
from gr00t_ros.bags.reception_order import in_order_of_reception

SECOND_NS = 1_000_000_000
TOPICS = ("a", "b")


def received(topic: str, *times_s: float) -> list[BagMessage]:
    return [BagMessage(topic, b"", round(time_s * SECOND_NS)) for time_s in times_s]


def in_order(written: list[BagMessage]) -> list[tuple[str, float]]:
    messages = in_order_of_reception(written, TOPICS)
    return [(message.topic, message.received_ns / SECOND_NS) for message in messages]


def test_a_topic_that_was_written_late_comes_in_its_place() -> None:
    written = [*received("a", 0.0, 0.3, 0.6, 0.9), *received("b", 0.1, 0.4, 0.7, 1.0)]
    expected = [(t, s) for s, t in sorted((m.received_ns / SECOND_NS, m.topic) for m in written)]
    assert in_order(written) == expected


def test_messages_of_one_instant_keep_their_order() -> None:
    assert in_order([*received("b", 1.0), *received("a", 1.0)]) == [("b", 1.0), ("a", 1.0)]


def test_where_the_clock_was_set_back_the_messages_before_come_first() -> None:
    written = [*received("a", 5.0), *received("b", 5.1), *received("a", 2.0), *received("b", 2.1)]
    assert in_order(written) == [("a", 5.0), ("b", 5.1), ("a", 2.0), ("b", 2.1)]


def test_a_silent_topic_holds_the_others_for_two_seconds() -> None:
    taken = []

    def written() -> object:
        for message in received("a", 0.0, 1.0, 2.0, 3.0):
            taken.append(message)
            yield message

    first = next(in_order_of_reception(written(), TOPICS))
    assert first.received_ns == 0
    assert len(taken) == 3
