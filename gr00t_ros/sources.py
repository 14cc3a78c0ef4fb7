# SPDX-License-Identifier: Apache-2.0
"""Observation streams: subscriptions that put stamped messages into buffers, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from gr00t_policy_core.control.samples import SampleBuffer
from gr00t_ros.contract import Contract, StateStream, VideoStream
from gr00t_ros.qos import SENSOR

IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
GRAPH_POLL_S = 0.5  # a camera's type is known once its publisher is there
STARVING = 0.7  # a stream below this share of its expected rate is named


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """One stream now. Age in s (NaN: nothing yet), rates in Hz (expected NaN: not watched)."""

    name: str
    age_s: float
    rate_hz: float
    expected_hz: float

    @property
    def is_starving(self) -> bool:
        return self.rate_hz < STARVING * self.expected_hz  # false where NaN


class Sources:
    """The subscriptions of a contract.

    Args:
        node: Subscribes; its clock gives the stamp of messages that carry none.
        contract: Which streams.
        on_message: Called after each reception, in the executor's thread.
    """

    def __init__(self, node: Node, contract: Contract, on_message: Callable[[], None]) -> None:
        self._node = node
        self._contract = contract
        self._on_message = on_message
        self._started_s = time.monotonic()
        self._subscriptions: list[Subscription] = []
        self._untyped = list(contract.video)
        self.buffers: dict[str, SampleBuffer[Any]] = {
            stream.name: SampleBuffer(span_ns=round(stream.max_age_s * 1e9))
            for stream in contract.streams
        }
        for stream in contract.state:
            self._subscribe(stream, _state_type(stream))
        self._graph_timer = node.create_timer(GRAPH_POLL_S, self._subscribe_cameras)
        self._subscribe_cameras()

    def health(self, now_ns: int) -> list[StreamHealth]:
        """Age and rates of every stream.

        Args:
            now_ns: The present on the clock of the stamps, ns.
        """
        return [self._health_of(stream, now_ns) for stream in self._contract.streams]

    def starving(self, now_ns: int) -> list[str]:
        """A sentence for each stream that comes slower than its expected rate."""
        if time.monotonic() - self._started_s < 3.0:  # too early to tell a rate
            return []
        return [
            f"{h.name}: {h.rate_hz:.1f} Hz received, {h.expected_hz:g} Hz expected"
            for h in self.health(now_ns)
            if h.is_starving
        ]

    def destroy(self) -> None:
        """End the subscriptions."""
        self._node.destroy_timer(self._graph_timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _health_of(self, stream: VideoStream | StateStream, now_ns: int) -> StreamHealth:
        buffer = self.buffers[stream.name]
        newest = buffer.latest()
        return StreamHealth(
            name=stream.name,
            age_s=(now_ns - newest.stamp_ns) * 1e-9 if newest else math.nan,
            rate_hz=buffer.rate_hz(time.monotonic_ns()),
            expected_hz=stream.rate_hz or math.nan,
        )

    def _subscribe_cameras(self) -> None:
        """Subscribe to the cameras whose message type has become known."""
        if not self._untyped:
            self._graph_timer.cancel()
            return
        types = dict(self._node.get_topic_names_and_types())
        for stream in list(self._untyped):
            topic = self._node.resolve_topic_name(stream.topic)
            image_types = [IMAGE_TYPES[t] for t in types.get(topic, ()) if t in IMAGE_TYPES]
            if image_types:
                self._subscribe(stream, image_types[0])
                self._untyped.remove(stream)
            elif types.get(topic):
                self._node.get_logger().error(
                    f"{stream.name}: {topic} carries {types[topic]}, "
                    f"expected one of {list(IMAGE_TYPES)}",
                    throttle_duration_sec=10.0,
                )

    def _subscribe(self, stream: VideoStream | StateStream, message_type: type) -> None:
        buffer = self.buffers[stream.name]

        def on_message(message: Any) -> None:
            buffer.add(self._stamp_ns(message), message, received_ns=time.monotonic_ns())
            self._on_message()

        subscription = self._node.create_subscription(
            message_type, stream.topic, on_message, SENSOR
        )
        self._subscriptions.append(subscription)

    def _stamp_ns(self, message: Any) -> int:
        header = getattr(message, "header", None)
        if header is not None and (header.stamp.sec or header.stamp.nanosec):
            return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
        return int(self._node.get_clock().now().nanoseconds)


def _state_type(stream: StateStream) -> type:
    if stream.joints:
        return JointState
    return PoseStamped if stream.representation else Float64MultiArray
