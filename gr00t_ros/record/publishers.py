# SPDX-License-Identifier: Apache-2.0
"""What the publishers of a topic offer: its message type, and the QoS that receives all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.message_definitions import message_definition

# What may wait in the middleware while this process does not get a core: images of two seconds at
# 30 Hz; seconds of joint states at 1 kHz.
IMAGE_DEPTH = 60
DEPTH = 2000
IMAGE_TYPES = frozenset({"sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"})


def bag_topic(name: str, publishers: Sequence[TopicEndpointInfo]) -> BagTopic:
    """The topic as a bag describes it.

    Args:
        name: Full name of the topic.
        publishers: At least one, all of one message type.

    Raises:
        LookupError: The message type is not installed.
    """
    first = publishers[0]
    return BagTopic(
        name=name,
        type=first.topic_type,
        definition=message_definition(first.topic_type),
        qos_profiles=qos_profiles_text([info.qos_profile for info in publishers]),
        type_hash=str(getattr(first, "topic_type_hash", "")),  # since Iron
    )


def matching_qos(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """The QoS of a subscription that receives every publisher, as reliably as all of them offer."""
    profiles = [info.qos_profile for info in publishers]
    is_reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    is_latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=IMAGE_DEPTH if publishers[0].topic_type in IMAGE_TYPES else DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
    )


def qos_profiles_text(profiles: Sequence[QoSProfile]) -> str:
    """QoS profiles as rosbag2 writes them up to version 8 of its metadata: YAML with numbers."""
    text: str = yaml.safe_dump([_qos(profile) for profile in profiles], sort_keys=False)
    return text


def _qos(profile: QoSProfile) -> dict[str, Any]:
    return {
        "history": int(profile.history),
        "depth": profile.depth,
        "reliability": int(profile.reliability),
        "durability": int(profile.durability),
        "deadline": _duration(profile.deadline),
        "lifespan": _duration(profile.lifespan),
        "liveliness": int(profile.liveliness),
        "liveliness_lease_duration": _duration(profile.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": profile.avoid_ros_namespace_conventions,
    }


def _duration(duration: Duration) -> dict[str, int]:
    seconds, nanoseconds = divmod(duration.nanoseconds, 1_000_000_000)
    return {"sec": seconds, "nsec": nanoseconds}
