# SPDX-License-Identifier: Apache-2.0
"""A robot to record: four cameras of 640x480 rgb8 at 30 Hz, two arms with joint states at 1 kHz.

python -m bench.ros.recorded_robot RELIABILITY

Publishes from the start, so that subscribers are found. For a line on stdin it stops and says so;
for the line `SECONDS` after it, it publishes exactly that many seconds of messages, tells how many
of each topic, and is silent. The messages are serialized once: a driver in C++ pays no more.
"""

from __future__ import annotations

import array
import queue
import struct
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import rclpy
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState

from bench.processes import tell

CAMERAS = tuple(f"camera_{index}" for index in range(4))
ARMS = ("left", "right")
JOINTS = tuple(f"joint_{index}" for index in range(7))
WIDTH, HEIGHT = 640, 480
CAMERA_HZ, JOINTS_HZ = 30, 1000
WARM_UP_S = 0.1
SETTLE_S = 0.5
STAMP = struct.Struct("<iI")
STAMP_OFFSET = 4  # the stamp of the header is the first field, after the head of CDR


def image_topic(camera: str) -> str:
    """The topic of a camera's images."""
    return f"/bench/{camera}/image_raw"


def joints_topic(arm: str) -> str:
    """The topic of an arm's joint states."""
    return f"/bench/{arm}/joint_states"


@dataclass(slots=True)
class Source:
    """One topic, its serialized message, and when it is published next.

    Args:
        topic: Full name.
        publisher: Publishes the message.
        message: The message, in which the stamp is replaced.
        period_s: Time between two of them, s.
        offset_s: When the first one is published, s after the start.
        sent: Messages published since the start.
    """

    topic: str
    publisher: Publisher
    message: bytearray
    period_s: float
    offset_s: float
    sent: int = 0

    def due_s(self) -> float:
        """When the next message is due, s after the start."""
        return self.offset_s + self.sent * self.period_s

    def publish(self) -> None:
        now_ns = time.time_ns()
        STAMP.pack_into(self.message, STAMP_OFFSET, *divmod(now_ns, 1_000_000_000))
        self.publisher.publish(bytes(self.message))
        self.sent += 1


def make_sources(node: rclpy.node.Node, qos: QoSProfile) -> list[Source]:
    """The topics of the robot; cameras take turns, as free-running ones do."""
    pixels = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 3, dtype=np.uint8)
    image = Image(
        height=HEIGHT,
        width=WIDTH,
        encoding="rgb8",
        step=WIDTH * 3,
        data=array.array("B", pixels.tobytes()),
    )
    joints = JointState(name=list(JOINTS), position=[0.0] * 7, velocity=[0.0] * 7, effort=[0.0] * 7)
    cameras = [
        Source(
            image_topic(camera),
            node.create_publisher(Image, image_topic(camera), qos),
            bytearray(serialize_message(image)),
            1.0 / CAMERA_HZ,
            index / CAMERA_HZ / len(CAMERAS),
        )
        for index, camera in enumerate(CAMERAS)
    ]
    arms = [
        Source(
            joints_topic(arm),
            node.create_publisher(JointState, joints_topic(arm), qos),
            bytearray(serialize_message(joints)),
            1.0 / JOINTS_HZ,
            0.0,
        )
        for arm in ARMS
    ]
    return [*cameras, *arms]


def publish_for(sources: list[Source], seconds: float) -> float:
    """Publish `seconds` of messages in real time, and return the largest lateness, s."""
    for source in sources:
        source.sent = 0
    wanted = {source.topic: round(seconds / source.period_s) for source in sources}
    start_s, latest_s = time.monotonic(), 0.0
    while left := [source for source in sources if source.sent < wanted[source.topic]]:
        source = min(left, key=Source.due_s)
        wait_s = start_s + source.due_s() - time.monotonic()
        if wait_s > 0.0:
            time.sleep(wait_s)
        latest_s = max(latest_s, -wait_s)
        source.publish()
    return latest_s


def main() -> None:
    reliability = ReliabilityPolicy[sys.argv[1].upper()]
    rclpy.init()
    node = rclpy.create_node("bench_robot")
    sources = make_sources(node, QoSProfile(depth=10, reliability=reliability))
    requests: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        requests.put(None)

    threading.Thread(target=listen, daemon=True).start()
    tell("ready")
    while requests.empty():
        publish_for(sources, WARM_UP_S)
    if requests.get() is not None:
        time.sleep(SETTLE_S)  # what was published before is received before
        tell("silent")
        latest_s = publish_for(sources, float(requests.get() or 0.0))
        tell({"sent": {s.topic: s.sent for s in sources}, "latest_s": latest_s})
        requests.get()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
