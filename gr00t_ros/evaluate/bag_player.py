# SPDX-License-Identifier: Apache-2.0
"""Plays the observations of a bag to the node, one message after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from gr00t_ros.contract.contract import Contract
from gr00t_ros.convert.bag_messages import CLOCK
from gr00t_ros.convert.steps import TimedMessage
from gr00t_ros.evaluate.evaluated_node import EvaluatedNode
from gr00t_ros.evaluate.stepped_executor import SteppedExecutor

RELIABLE = QoSProfile(depth=10)


class BagPlayer:
    """Publishes the messages of the observation streams, and the time of each on /clock.

    The clock advances when the node has received the message before, and the message is published
    when the node's clock shows its time. Commands are not published.

    Args:
        peer: Publishes.
        node: Receives.
        executor: Runs the callbacks of both.
        contract: Names the streams.
        types: The class of the messages of each topic.
    """

    def __init__(
        self,
        peer: Node,
        node: EvaluatedNode,
        executor: SteppedExecutor,
        contract: Contract,
        types: Mapping[str, type[Any]],
    ) -> None:
        self._node = node
        self._executor = executor
        self._clock = peer.create_publisher(Clock, CLOCK, RELIABLE)
        self._streams: dict[str, list[str]] = {}
        for stream in contract.streams:
            self._streams.setdefault(stream.topic, []).append(stream.name)
        self._publishers = {
            topic: peer.create_publisher(types[topic], topic, RELIABLE) for topic in self._streams
        }

    def connect(self) -> None:
        """Wait until the node has subscribed to all topics."""
        wanted = [(self._clock, 1)]
        wanted += [(self._publishers[topic], len(names)) for topic, names in self._streams.items()]
        for publisher, count in wanted:
            self._executor.run_until(
                lambda publisher=publisher, count=count: (
                    publisher.get_subscription_count() >= count
                ),
                f"the node subscribes to {publisher.topic_name}",
            )

    def playing(self, messages: Iterable[TimedMessage]) -> Iterator[TimedMessage]:
        """Yield each message when the node has received it."""
        for message in messages:
            self._set_clock(message.now_ns)
            publisher = self._publishers.get(message.topic)
            if publisher is not None:
                self._deliver(publisher, message)
            yield message

    def _set_clock(self, now_ns: int) -> None:
        clock = self._node.get_clock()
        if clock.now().nanoseconds == now_ns:
            return
        self._clock.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))
        self._executor.run_until(
            lambda: clock.now().nanoseconds == now_ns, "the node follows the clock"
        )

    def _deliver(self, publisher: Publisher, message: TimedMessage) -> None:
        received = self._node.received
        names = self._streams[message.topic]
        expected = {name: received[name] + 1 for name in names}
        publisher.publish(message.message)
        self._executor.run_until(
            lambda: all(received[name] >= count for name, count in expected.items()),
            f"the node receives a message on {message.topic}",
        )
