# SPDX-License-Identifier: Apache-2.0
"""Small bags of the robot of `policies_for_tests`: a camera, three joints, and their commands."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from mcap.writer import Writer
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.bags.writer import BagWriter
from gr00t_ros.interfaces.registry import ros_type

START_NS = 1_700_000_000_000_000_000
HEIGHT, WIDTH = 32, 48
JOINTS = ("shoulder", "elbow", "finger")
LATENCY_S = 0.004  # from a stamp to the reception


@dataclass(frozen=True)
class Recorded:
    """A message as it was received.

    Args:
        topic: The full name of its topic.
        message: The message.
        time_s: When it was received, s after `START_NS`.
        published_s: When it was published; None for the same instant.
    """

    topic: str
    message: Any
    time_s: float
    published_s: float | None = None

    @property
    def received_ns(self) -> int:
        return START_NS + round(self.time_s * 1e9)

    @property
    def published_ns(self) -> int:
        published_s = self.time_s if self.published_s is None else self.published_s
        return START_NS + round(published_s * 1e9)


def stamp(time_s: float) -> Time:
    seconds, nanoseconds = divmod(START_NS + round(time_s * 1e9), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def position(time_s: float, joint: int) -> float:
    """Where a joint is measured, rad."""
    return 0.3 * math.sin(1.5 * time_s + joint)


def command(time_s: float, joint: int) -> float:
    """Where a joint is commanded, rad: 50 ms ahead of what is measured."""
    return position(time_s + 0.05, joint)


def picture(time_s: float) -> Image:
    """A picture that tells its time: a bar moves over a pattern."""
    row = np.arange(WIDTH)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, :, 0] = np.where((row // 4) % 2, 200, 30)
    pixels[:, :, 1] = np.where(np.abs(row - (time_s * 20) % WIDTH) < 3, 220, 20)
    pixels[:, :, 2] = round(time_s * 40) % 200
    message = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8")
    message.header.stamp = stamp(time_s)
    message.data = pixels.tobytes()
    return message


def joints(time_s: float, value: Callable[[float, int], float] = position) -> JointState:
    message = JointState(name=list(JOINTS))
    message.header.stamp = stamp(time_s)
    message.position = [value(time_s, joint) for joint in range(len(JOINTS))]
    return message


def trajectory(time_s: float) -> JointTrajectory:
    """A command of all joints with stamp 0, as teleoperation publishes it."""
    point = JointTrajectoryPoint(positions=[command(time_s, j) for j in range(len(JOINTS))])
    return JointTrajectory(joint_names=list(JOINTS), points=[point])


def interventions(duration_s: float, *spans: tuple[float, float]) -> list[Recorded]:
    """What the control node says of who drives: at 10 Hz and at every change.

    Args:
        duration_s: The duration of the recording, s.
        spans: From when to when a person drives, s.
    """
    changes = [time_s for span in spans for time_s in span]
    said_s = sorted({*times(duration_s, 10.0), *changes})
    return [
        Recorded("/intervention", Bool(data=any(a <= t < b for a, b in spans)), t) for t in said_s
    ]


def recording(
    duration_s: float = 4.0, *, camera_hz: float = 20.0, camera_from_s: float = 0.0
) -> list[Recorded]:
    """The messages of a demonstration in the order of their reception."""
    messages = [
        Recorded("/front/image_raw", picture(t), t + LATENCY_S)
        for t in times(duration_s, camera_hz)
        if t >= camera_from_s
    ]
    messages += [Recorded("/joint_states", joints(t), t + 0.001) for t in times(duration_s, 100.0)]
    messages += [Recorded("/commands", trajectory(t), t) for t in times(duration_s, 50.0)]
    return sorted(messages, key=lambda recorded: recorded.time_s)


def times(duration_s: float, rate_hz: float) -> Iterator[float]:
    return (index / rate_hz for index in range(round(duration_s * rate_hz)))


def write_plain_bag(path: Path, messages: Iterable[Recorded]) -> Path:
    """Write an MCAP file as another recorder would, without anything of gr00t_ros's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=64 * 1024)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for recorded in messages:
            if recorded.topic not in channels:
                name = ros_type(type(recorded.message))
                schema = writer.register_schema(name, "ros2msg", b"")
                channels[recorded.topic] = writer.register_channel(recorded.topic, "cdr", schema)
            data = serialize_message(recorded.message)
            received_ns, published_ns = recorded.received_ns, recorded.published_ns
            writer.add_message(channels[recorded.topic], received_ns, data, published_ns)
        writer.finish()
    return path


def write_episode(bag: Path, messages: Iterable[Recorded], info: EpisodeInfo) -> Path:
    """Write a bag as our recorder does; returns its folder."""
    writer = BagWriter(bag, info)
    for recorded in messages:
        name = ros_type(type(recorded.message))
        writer.add_topic(BagTopic(name=recorded.topic, type=name))
        writer.write(
            recorded.topic,
            serialize_message(recorded.message),
            received_ns=recorded.received_ns,
            published_ns=recorded.published_ns,
        )
    return writer.finish(info)


def write_sqlite_bag(path: Path, messages: Iterable[Recorded]) -> Path:
    """Write a .db3 file, the storage of ROS 2 before Iron."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
            "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
        )
        database.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, "
            "timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        topics: dict[str, int] = {}
        for recorded in messages:
            if recorded.topic not in topics:
                topics[recorded.topic] = len(topics) + 1
                row = (topics[recorded.topic], recorded.topic, ros_type(type(recorded.message)))
                database.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", row)
            time_ns = START_NS + round(recorded.time_s * 1e9)
            row = (topics[recorded.topic], time_ns, serialize_message(recorded.message))
            database.execute(
                "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", row
            )
        database.commit()
    return path


def truncate(path: Path, share: float = 0.6) -> None:
    """Cut a file off, as the death of its recorder would."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
