# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of the recorder: each topic once its publishers are there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from gr00t_ros.msg import RecordedTopicStatus
from gr00t_ros.record.publishers import bag_topic, matching_qos
from gr00t_ros.record.recorded_topics import RecordedTopic
from gr00t_ros.record.topic_subscription import Sink, TopicSubscription

GRAPH_POLL_S = 0.5  # a topic's type and QoS are known once its publishers are there


class RecorderSubscriptions:
    """Subscribes to the recorded topics as their publishers come, and says what is missing.

    Args:
        node: Subscribes.
        topics: What to record.
    """

    def __init__(self, node: Node, topics: Sequence[RecordedTopic]) -> None:
        self._node = node
        self._topics = topics
        self._subscriptions: dict[str, TopicSubscription] = {}
        self._problems: dict[str, str] = {}
        self._sink: Sink | None = None
        # The timer uses a clock that runs while simulated time stands still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(GRAPH_POLL_S, self._discover, clock=clock)
        self._discover()

    def begin(self, sink: Sink) -> None:
        """Begin an episode: from now on messages go to the sink."""
        self._sink = sink
        for subscription in self._subscriptions.values():
            subscription.begin(sink)

    def receive_waiting(self) -> None:
        """Receive what has arrived by now and waits in the middleware."""
        for subscription in self._subscriptions.values():
            subscription.receive_waiting()

    def end(self) -> None:
        """End the episode; its counts stay."""
        self._sink = None
        for subscription in self._subscriptions.values():
            subscription.end()

    def dropped_by_topic(self) -> dict[str, int]:
        """Messages of the episode that are known to be lost; only topics that lost any."""
        return {name: s.dropped for name, s in self._subscriptions.items() if s.dropped}

    @property
    def messages(self) -> int:
        """Messages received for the episode."""
        return sum(subscription.messages for subscription in self._subscriptions.values())

    @property
    def dropped(self) -> int:
        """Messages of the episode that are known to be lost."""
        return sum(subscription.dropped for subscription in self._subscriptions.values())

    def silent_topics(self) -> list[str]:
        """The topics with publishers that the episode has no message of."""
        return [name for name, s in self._subscriptions.items() if not s.messages]

    def missing(self) -> list[str]:
        """A sentence for each required topic that is not received now."""
        return [problem for topic in self._topics if (problem := self._missing(topic))]

    def status(self) -> list[RecordedTopicStatus]:
        """The status of each topic; to be asked for regularly."""
        return [self._status(topic) for topic in self._topics]

    def destroy(self) -> None:
        """End the subscriptions."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            subscription.destroy()
        self._subscriptions.clear()

    def _missing(self, topic: RecordedTopic) -> str:
        if topic.max_age_s is None:
            return ""
        subscription = self._subscriptions.get(topic.name)
        if subscription is None:
            why = self._problems.get(topic.name) or "nobody publishes it"
            return f"{topic.purpose}: {topic.name}: {why}"
        age_s = subscription.age_s
        if math.isnan(age_s):
            return f"{topic.purpose}: nothing was received on {topic.name}"
        if age_s > topic.max_age_s:
            return (
                f"{topic.purpose}: the newest message on {topic.name} is {age_s:.1f} s old, "
                f"max_age_s is {topic.max_age_s:g}"
            )
        return ""

    def _status(self, topic: RecordedTopic) -> RecordedTopicStatus:
        status = RecordedTopicStatus(
            topic=topic.name,
            purpose=topic.purpose,
            problem=self._problems.get(topic.name, "") or self._missing(topic),
            age_s=math.nan,
        )
        subscription = self._subscriptions.get(topic.name)
        if subscription is not None:
            status.type = subscription.topic.type
            status.age_s = subscription.age_s
            status.rate_hz = subscription.rate_hz()
            status.messages = subscription.messages
            status.dropped = subscription.dropped
        return status

    def _discover(self) -> None:
        for topic in self._topics:
            publishers = self._node.get_publishers_info_by_topic(topic.name)
            if publishers:
                self._subscribe(topic.name, publishers)

    def _subscribe(self, name: str, publishers: Sequence[TopicEndpointInfo]) -> None:
        """Subscribe, or again where a new publisher offers less than the others."""
        types = sorted({info.topic_type for info in publishers})
        if len(types) > 1:
            self._report(name, f"published as {' and as '.join(types)}, which no bag can hold")
            return
        qos = matching_qos(publishers)
        before = self._subscriptions.get(name)
        if before is not None and before.topic.type == types[0] and before.qos == qos:
            self._problems.pop(name, None)
            return
        try:
            subscription = TopicSubscription(self._node, bag_topic(name, publishers), qos)
        except LookupError as error:
            self._report(name, str(error))
            return
        self._problems.pop(name, None)
        self._subscriptions[name] = subscription
        if before is not None:
            before.destroy()
            subscription.messages, subscription.dropped = before.messages, before.dropped
        if self._sink is not None:
            subscription.sink = self._sink

    def _report(self, name: str, problem: str) -> None:
        """Log a problem once."""
        if self._problems.get(name) != problem:
            self._problems[name] = problem
            self._node.get_logger().warning(f"{name} is not recorded: {problem}")
