# SPDX-License-Identifier: Apache-2.0
"""Observation streams: subscriptions that put stamped messages into buffers, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import VIDEO
from gr00t_ros.contract.streams import StateStream, VideoStream
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.interfaces.transform_buffer import TF_TOPIC, TransformBuffer, TransformFeed
from gr00t_ros.node.qos import SENSOR
from gr00t_ros.node.rejected_messages import AHEAD
from gr00t_ros.policy.stream_buffers import StreamBuffers

IMAGE_TYPES = {ros_type(message_type): message_type for message_type in (Image, CompressedImage)}
GRAPH_POLL_S = 0.5  # a camera's type is known once its publisher is there
SLOW = 0.7  # a stream below this share of its expected rate is reported
RATE_KNOWN_S = 3.0  # after the start; before that, a rate is not known


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """One stream now. Age in s (NaN: nothing yet), rates in Hz (expected NaN: not watched)."""

    name: str
    age_s: float
    rate_hz: float
    expected_hz: float

    @property
    def is_slow(self) -> bool:
        """Whether much less is received than expected; false where no rate is expected."""
        return self.rate_hz < SLOW * self.expected_hz


class ObservationStreams:
    """The subscriptions of a contract.

    Args:
        node: Subscribes; its clock gives the stamp of messages that carry none.
        contract: Names the topics, types and rates of the streams.

    Attributes:
        buffers: The received messages, by stream name.
        rejected: The received messages that were rejected.
        received: The number of messages that came, by stream name.
    """

    def __init__(self, node: Node, contract: Contract) -> None:
        self._node = node
        self._contract = contract
        self._started_s = time.monotonic()
        self._subscriptions: list[Subscription] = []
        self._feeds: list[TransformFeed] = []
        self._graph_timer: Timer | None = None
        self._unseen: list[VideoStream | StateStream] = list(contract.streams)
        self._received = StreamBuffers(contract)
        self.buffers, self.rejected = self._received.buffers, self._received.rejected
        self.received = {stream.name: 0 for stream in contract.streams}

    def subscribe(self, on_message: Callable[[], None]) -> None:
        """Subscribe to the states now, and to each camera once its type is known.

        Args:
            on_message: Called after each reception, in the executor's thread.
        """
        for stream in self._contract.state_streams:
            buffer = self.buffers[stream.name]
            if isinstance(buffer, TransformBuffer):
                self._require_tf_topic(stream)
                on_ahead = partial(self.rejected.add, stream.name, AHEAD)
                skew_ns = round(self._contract.max_skew_s * 1e9)
                self._feeds.append(
                    buffer.listen(self._node, on_message, skew_ns=skew_ns, on_ahead=on_ahead)
                )
                continue
            self._subscribe(stream, stream.interface.message_type, on_message)
        discover = partial(self._discover, on_message)
        # The timer uses a clock that runs while simulated time stands still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._graph_timer = self._node.create_timer(GRAPH_POLL_S, discover, clock=clock)
        discover()

    def health(self, now_ns: int) -> list[StreamHealth]:
        """Age and rates of every stream.

        Args:
            now_ns: The current time on the clock of the stamps, ns.
        """
        return [self._health_of(stream, now_ns) for stream in self._contract.streams]

    def warnings(self, now_ns: int) -> Iterator[str]:
        """Yield a sentence for each stream that is too slow, and for each kind of rejection.

        Args:
            now_ns: The present on the clock of the stamps, ns.
        """
        if time.monotonic() - self._started_s >= RATE_KNOWN_S:
            yield from (_slow_text(h) for h in self.health(now_ns) if h.is_slow)
        yield from self.rejected.recent()

    def destroy(self) -> None:
        """End the subscriptions."""
        if self._graph_timer is not None:
            self._node.destroy_timer(self._graph_timer)
            self._graph_timer = None
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        for feed in self._feeds:
            feed.destroy()
        self._feeds.clear()

    def _health_of(self, stream: VideoStream | StateStream, now_ns: int) -> StreamHealth:
        buffer = self.buffers[stream.name]
        newest = buffer.latest()
        return StreamHealth(
            name=stream.name,
            age_s=(now_ns - newest.stamp_ns) * 1e-9 if newest else math.nan,
            rate_hz=buffer.rate_hz(time.monotonic_ns()),
            expected_hz=stream.rate_hz or math.nan,
        )

    def _require_tf_topic(self, stream: StateStream) -> None:
        topic = self._node.resolve_topic_name(TF_TOPIC)
        if stream.topic != topic:
            raise SpecError(
                "bad parameters",
                [
                    f"{stream.name}.topic is {stream.topic}: source tf listens to {topic}; write "
                    f"topic: {TF_TOPIC}, and remap {TF_TOPIC} where the transforms are elsewhere"
                ],
            )

    def _discover(self, on_message: Callable[[], None]) -> None:
        """Compare the types of the publishers with the types that a camera may have."""
        for stream in list(self._unseen):
            wanted = [stream.ros_type] if isinstance(stream, StateStream) else list(IMAGE_TYPES)
            publishers = self._node.get_publishers_info_by_topic(stream.topic)
            published = sorted({info.topic_type for info in publishers})
            fitting = [name for name in published if name in wanted]
            if fitting:
                self._unseen.remove(stream)
                if isinstance(stream, VideoStream):
                    self._subscribe(stream, IMAGE_TYPES[fitting[0]], on_message)
            elif published:
                expected = " or ".join(wanted)
                self._node.get_logger().error(
                    f"{stream.name}: {stream.topic} carries {published}, expected {expected}",
                    throttle_duration_sec=10.0,
                )

    def _subscribe(
        self,
        stream: VideoStream | StateStream,
        message_type: type[Any],
        on_message: Callable[[], None],
    ) -> None:
        def receive(message: Any) -> None:
            now_ns = int(self._node.get_clock().now().nanoseconds)
            self._received.receive(stream, message, now_ns=now_ns, received_ns=time.monotonic_ns())
            self.received[stream.name] += 1
            on_message()

        subscription = self._node.create_subscription(message_type, stream.topic, receive, SENSOR)
        self._subscriptions.append(subscription)


def _slow_text(health: StreamHealth) -> str:
    hint = " (large images? see config/fastdds.xml)" if health.name.startswith(VIDEO) else ""
    return (
        f"{health.name}: {health.rate_hz:.1f} Hz received, {health.expected_hz:g} Hz expected{hint}"
    )
