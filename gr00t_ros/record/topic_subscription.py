# SPDX-License-Identifier: Apache-2.0
"""The subscription of one recorded topic: serialized messages, taken as they are and counted."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.message_definitions import message_class

# Taken with one wake-up of the executor, which costs ten times as much as a message.
BATCH = 50
LATCHED = 200  # messages of a latched topic that are kept for the next episode
RATE_WINDOW_S = 2.0
HAS_INFO = hasattr(Subscription, "CallbackType")  # since Iron callbacks get the message's stamps


class Sink(Protocol):
    """Where received messages go."""

    def put(
        self, topic: BagTopic, data: bytes, received_ns: int, published_ns: int, sequence: int
    ) -> bool:
        """Take a message, and return whether there was room for it."""


class TopicSubscription:
    """Receives one topic, and hands its messages to the sink while there is one.

    Args:
        node: Subscribes; with simulated time its clock stamps the messages.
        topic: The topic with its message type.
        qos: Quality of service of the subscription.

    Attributes:
        sink: Takes the messages; None between episodes.
        messages: Messages received for the episode.
        dropped: Messages of the episode that the sink had no room for, or that were lost on the
            way here as far as the publishers' counts show.
    """

    def __init__(self, node: Node, topic: BagTopic, qos: QoSProfile) -> None:
        self.topic = topic
        self.qos = qos
        self.sink: Sink | None = None
        self.messages = 0
        self.dropped = 0
        self._node = node
        self._clock = node.get_clock()
        self._received = 0
        self._received_s = math.nan
        self._rates: deque[tuple[float, int]] = deque()
        self._is_latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        self._latched: deque[tuple[bytes, int]] = deque(maxlen=LATCHED)
        self._counts: dict[bytes, int] = {}  # newest publication number by publisher
        self._type = message_class(topic.type)
        self._subscription = node.create_subscription(
            self._type,
            topic.name,
            self._on_message if HAS_INFO else self._on_bare_message,
            qos,
            raw=True,
        )

    @property
    def age_s(self) -> float:
        """Time since the newest message was received, s; NaN before the first."""
        return time.monotonic() - self._received_s

    def rate_hz(self) -> float:
        """Rate of the messages of the last seconds, Hz; to be asked for regularly."""
        now_s = time.monotonic()
        self._rates.append((now_s, self._received))
        while len(self._rates) > 2 and self._rates[1][0] <= now_s - RATE_WINDOW_S:
            self._rates.popleft()
        first_s, first = self._rates[0]
        return (self._received - first) / (now_s - first_s) if now_s > first_s else 0.0

    def begin(self, sink: Sink) -> None:
        """Begin an episode, with what a latched topic has published before it."""
        self.receive_waiting()  # does not belong to it
        self.messages = self.dropped = 0
        now_ns = self._clock.now().nanoseconds
        for data, published_ns in self._latched:
            self._put(sink, data, now_ns, published_ns, 0)
        self.sink = sink

    def receive_waiting(self) -> None:
        """Receive what has arrived by now: on a busy machine that is seconds of messages."""
        self._receive_waiting(self.qos.depth)

    def end(self) -> None:
        """End the episode."""
        self.sink = None

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_bare_message(self, data: bytes) -> None:
        self._on_message(data, {})

    def _on_message(self, data: bytes, info: Mapping[str, Any]) -> None:
        """Receive a message, and all others that have arrived by now."""
        self._receive(data, info)
        self._receive_waiting(BATCH)
        self._received_s = time.monotonic()

    def _receive_waiting(self, most: int) -> None:
        take = self._subscription.handle.take_message
        for _ in range(most):
            taken = take(self._type, True)
            if taken is None:
                break
            self._receive(*taken)

    def _receive(self, data: bytes, info: Mapping[str, Any]) -> None:
        self._received += 1
        received_ns, published_ns = self._stamps(info)
        if self._is_latched:
            self._latched.append((data, published_ns))
        sequence = info.get("publication_sequence_number") or 0
        lost = self._lost_before(sequence, info) if sequence else 0
        sink = self.sink
        if sink is not None:
            self.dropped += lost
            self._put(sink, data, received_ns, published_ns, sequence)

    def _put(
        self, sink: Sink, data: bytes, received_ns: int, published_ns: int, sequence: int
    ) -> None:
        self.messages += 1
        if not sink.put(self.topic, data, received_ns, published_ns, sequence):
            self.dropped += 1

    def _stamps(self, info: Mapping[str, Any]) -> tuple[int, int]:
        """When a message was received and published, ns, by the clock of the node."""
        received_ns = info.get("received_timestamp") or 0
        if self._clock.ros_time_is_active or not received_ns:
            received_ns = self._clock.now().nanoseconds
        if self._clock.ros_time_is_active:
            return received_ns, received_ns  # a wall-clock stamp beside simulated ones misleads
        return received_ns, info.get("source_timestamp") or received_ns

    def _lost_before(self, sequence: int, info: Mapping[str, Any]) -> int:
        """The messages of a publisher that are missing between its last one and this one."""
        gid = info.get("publisher_gid")
        publisher = bytes(gid["data"]) if gid else b""
        last = self._counts.get(publisher, sequence - 1)
        self._counts[publisher] = sequence
        return max(sequence - last - 1, 0)
