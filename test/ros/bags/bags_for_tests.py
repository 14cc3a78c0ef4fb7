# SPDX-License-Identifier: Apache-2.0
"""Bags that tests write, and what the reader of the `mcap` library finds in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.message_definitions import message_definition
from gr00t_ros.bags.writer import BagWriter

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 1_000_000
TYPE = "sensor_msgs/msg/JointState"


def joints(name: str = "/joint_states", **changes: Any) -> BagTopic:
    """A topic of joint states."""
    return BagTopic(name=name, type=TYPE, definition=message_definition(TYPE), **changes)


def write_joints(
    bag: BagWriter, count: int, topic: str = "/joint_states", *, padding: int = 0
) -> None:
    """Write joint states whose position counts from 0, each with so many bytes of names."""
    for index in range(count):
        message = JointState(name=["x" * padding], position=[float(index)])
        bag.write(
            topic,
            serialize_message(message),
            received_ns=START_NS + index * PERIOD_NS,
            published_ns=START_NS + index * PERIOD_NS - 1000,
            sequence=index + 1,
        )


def mcap_of(bag: Path) -> Path:
    """The one MCAP file of a bag."""
    (path,) = bag.glob("*.mcap")
    return path


def positions(bag: Path, topic: str = "/joint_states") -> list[float]:
    """The positions of a bag's joint states, decoded by the definition in the bag."""
    with open(mcap_of(bag), "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        return [message.position[0] for *_, message in reader.iter_decoded_messages(topics=[topic])]
