# SPDX-License-Identifier: Apache-2.0
"""Messages of a bag by their reception, however late the recorder has written a topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

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


@pytest.mark.parametrize("by_s", [-50.0, 50.0])
def test_where_the_clock_was_set_all_topics_are_before_it_or_after_it(by_s: float) -> None:
    """The recorder has written b's last messages before the jump after a's first ones behind it."""
    after_s = 100.0 + by_s
    written = [
        *received("a", 100.0, 100.4, after_s, after_s + 0.4),
        *received("b", 100.1, 100.5, after_s + 0.1, after_s + 0.5),
    ]
    times_s = [100.0, 100.1, 100.4, 100.5, after_s, after_s + 0.1, after_s + 0.4, after_s + 0.5]
    assert [time_s for _, time_s in in_order(written)] == pytest.approx(times_s)


def test_what_waited_for_a_message_that_was_sent_again_was_delivered_with_it() -> None:
    """Only the reception goes back, by the time that sending again has taken."""
    written = received("b", 0.0, 0.1)
    for published_s, received_s in ((0.0, 0.9), (0.1, 0.2), (0.2, 0.3), (1.0, 1.1)):
        [message] = received("a", received_s)
        written.append(replace(message, published_ns=round(published_s * SECOND_NS)))
    written += received("b", 0.6, 1.0, 1.2)
    assert in_order(written) == [
        *(("b", 0.0), ("b", 0.1), ("b", 0.6)),
        *(("a", 0.9), ("a", 0.9), ("a", 0.9)),
        *(("b", 1.0), ("a", 1.1), ("b", 1.2)),
    ]


def test_for_a_silent_topic_only_so_much_waits() -> None:
    taken = []

    def written() -> Iterator[BagMessage]:
        for time_ns in range(9):
            taken.append(time_ns)
            yield BagMessage("a", bytes(10), time_ns)

    first = next(in_order_of_reception(written(), TOPICS, waiting_bytes=25))
    assert first.received_ns == 0
    assert len(taken) == 3
