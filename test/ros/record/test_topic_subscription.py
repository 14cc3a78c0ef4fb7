# SPDX-License-Identifier: Apache-2.0
"""One recorded topic: the QoS that receives every publisher, and what is known to be lost."""

from __future__ import annotations

from typing import Any

import yaml
from helpers import wait_until
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.record.publishers import bag_topic, matching_qos
from gr00t_ros.record.topic_subscription import TopicSubscription

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Sink:
    """Keeps messages while there is room."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.messages: list[tuple[Any, ...]] = []

    def put(self, *message: Any) -> bool:
        if len(self.messages) == self.room:
            return False
        self.messages.append(message)
        return True


def publishers_of(node: Node, topic: str, *profiles: QoSProfile) -> list[Any]:
    for profile in profiles:
        node.create_publisher(String, topic, profile)
    wait_until(
        lambda: len(node.get_publishers_info_by_topic(topic)) == len(profiles), what="discovery"
    )
    return node.get_publishers_info_by_topic(topic)


def test_the_subscription_receives_every_publisher(ros_node: Node) -> None:
    reliable = publishers_of(ros_node, "/reliable", QoSProfile(depth=5), LATCHED)
    assert matching_qos(reliable).reliability == ReliabilityPolicy.RELIABLE
    assert matching_qos(reliable).durability == DurabilityPolicy.VOLATILE
    latched = publishers_of(ros_node, "/latched", LATCHED)
    assert matching_qos(latched).durability == DurabilityPolicy.TRANSIENT_LOCAL
    mixed = publishers_of(ros_node, "/mixed", QoSProfile(depth=5), BEST_EFFORT)
    assert matching_qos(mixed).reliability == ReliabilityPolicy.BEST_EFFORT


def test_a_topic_is_described_as_rosbag2_does(ros_node: Node) -> None:
    topic = bag_topic("/mixed", publishers_of(ros_node, "/mixed", LATCHED, BEST_EFFORT))
    profiles = yaml.safe_load(topic.qos_profiles)
    assert sorted(profile["durability"] for profile in profiles) == [1, 2]
    assert sorted(profile["reliability"] for profile in profiles) == [1, 2]
    assert profiles[0]["lifespan"] == {"sec": 9223372036, "nsec": 854775807}
    assert topic.type == "std_msgs/msg/String"
    assert topic.definition.rstrip().endswith("string data")


def make_subscription(node: Node) -> TopicSubscription:
    topic = BagTopic(name="/text", type="std_msgs/msg/String")
    return TopicSubscription(node, topic, QoSProfile(depth=100))


def receive(subscription: TopicSubscription, sequence: int, publisher: int = 1) -> None:
    info = {
        "publication_sequence_number": sequence,
        "publisher_gid": {"data": bytes([publisher])},
        "received_timestamp": 20 + sequence,
        "source_timestamp": 10 + sequence,
    }
    subscription._on_message(serialize_message(String(data="a")), info)


def test_gaps_in_the_publishers_counts_are_lost_messages(ros_node: Node) -> None:
    subscription, sink = make_subscription(ros_node), Sink()
    receive(subscription, 3)
    subscription.begin(sink)
    for sequence in (4, 7, 8):
        receive(subscription, sequence)
    receive(subscription, 100, publisher=2)
    receive(subscription, 102, publisher=2)
    assert (subscription.messages, subscription.dropped) == (5, 3)
    assert [message[2:] for message in sink.messages[:2]] == [(24, 14, 4), (27, 17, 7)]


def test_messages_that_the_disk_is_too_slow_for_are_counted(ros_node: Node) -> None:
    subscription, sink = make_subscription(ros_node), Sink(room=2)
    subscription.begin(sink)
    for sequence in range(1, 6):
        receive(subscription, sequence)
    assert (subscription.messages, subscription.dropped) == (5, 3)
    subscription.end()
    receive(subscription, 6)
    assert subscription.messages == 5
    subscription.begin(Sink())
    assert (subscription.messages, subscription.dropped) == (0, 0)


def test_what_waits_in_the_middleware_belongs_to_the_episode_that_was_under_way(
    ros_context: Context,
) -> None:
    node = Node("busy", context=ros_context)  # nobody spins it: it is too busy
    try:
        subscription, first, second = make_subscription(node), Sink(), Sink()
        publisher = node.create_publisher(String, "/text", 100)
        wait_until(publisher.get_subscription_count, what="the subscription is found")

        def publish(*texts: str) -> None:
            for text in texts:
                publisher.publish(String(data=text))

        publish("before")
        subscription.begin(first)
        publish("a", "b")
        wait_until(lambda: subscription.receive_waiting() or len(first.messages) >= 2, what="both")
        subscription.end()
        publish("between")
        subscription.begin(second)
        assert [message[1] for message in first.messages] == [
            serialize_message(String(data=text)) for text in ("a", "b")
        ]
        assert second.messages == []
    finally:
        node.destroy_node()


def test_messages_are_taken_as_they_are(ros_node: Node) -> None:
    subscription, sink = make_subscription(ros_node), Sink()
    subscription.begin(sink)
    publisher = ros_node.create_publisher(String, "/text", 100)
    wait_until(publisher.get_subscription_count, what="the subscription is found")
    sent = [String(data=f"{index}") for index in range(20)]
    for message in sent:
        publisher.publish(message)
    wait_until(lambda: len(sink.messages) == 20, what="all messages")
    assert [message[1] for message in sink.messages] == [serialize_message(m) for m in sent]
    assert subscription.dropped == 0
    for _, _, received_ns, published_ns, sequence in sink.messages:
        assert 0 < published_ns <= received_ns
        assert sequence > 0
