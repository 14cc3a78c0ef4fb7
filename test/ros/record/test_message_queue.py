# SPDX-License-Identifier: Apache-2.0
"""The queue between reception and the disk is bounded, and loses nothing that it accepted."""

import threading

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.record.message_queue import MessageQueue, ReceivedMessage

TOPIC = BagTopic(name="/a", type="std_msgs/msg/String")


def message(size: int, sequence: int = 0) -> ReceivedMessage:
    return ReceivedMessage(TOPIC, bytes(size), 1, 1, sequence)


def test_what_does_not_fit_is_rejected_and_what_was_there_stays() -> None:
    queue = MessageQueue(max_bytes=10)
    assert queue.put(message(6, 1))
    assert not queue.put(message(5, 2))
    assert queue.put(message(4, 3))
    assert queue.bytes == 10
    assert [taken.sequence for taken in queue.take(0.0)] == [1, 3]
    assert queue.bytes == 0
    assert queue.put(message(10))


def test_messages_come_out_in_order_whoever_waits() -> None:
    queue = MessageQueue(max_bytes=10**9)
    found: list[int] = []

    def read() -> None:
        while taken := queue.take(60.0):
            found.extend(one.sequence for one in taken)

    reader = threading.Thread(target=read)
    reader.start()
    for sequence in range(2000):
        assert queue.put(message(5000, sequence))
    queue.close()
    reader.join(60.0)
    assert found == list(range(2000))


def test_a_closed_queue_accepts_nothing_and_gives_out_the_rest() -> None:
    queue = MessageQueue(max_bytes=100)
    queue.put(message(1))
    queue.close()
    assert not queue.put(message(1))
    assert len(queue.take(60.0)) == 1
    assert queue.take(60.0) == []


def test_nothing_comes_when_the_time_is_over() -> None:
    assert MessageQueue(max_bytes=100).take(0.01) == []
