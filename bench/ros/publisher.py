# SPDX-License-Identifier: Apache-2.0
"""Two cameras and a joint state, published at 30 Hz: python -m bench.ros.publisher

Tells that it is ready; for each line on stdin, tells how many images it has published.
"""

from __future__ import annotations

import array
import sys
import threading

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from bench.processes import tell
from bench.ros.robot import CAMERAS, HEIGHT, JOINTS, JOINTS_TOPIC, RATE_HZ, WIDTH, camera_topic
from gr00t_ros.node.qos import SENSOR


class Cameras(Node):
    """Publishes the same pictures again and again, best effort, with new stamps."""

    def __init__(self) -> None:
        super().__init__("bench_cameras")
        self.published = 0
        self._image_publishers = [
            self.create_publisher(Image, camera_topic(key), SENSOR) for key in CAMERAS
        ]
        self._joints_publisher = self.create_publisher(JointState, JOINTS_TOPIC, SENSOR)
        pixels = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 3, dtype=np.uint8)
        self._image = Image(
            height=HEIGHT,
            width=WIDTH,
            encoding="rgb8",
            step=WIDTH * 3,
            data=array.array("B", pixels.tobytes()),
        )
        self._joints = JointState(name=list(JOINTS), position=[0.0] * len(JOINTS))
        self._timer = self.create_timer(1 / RATE_HZ, self._publish)

    def _publish(self) -> None:
        self._joints.header.stamp = self.get_clock().now().to_msg()
        self._joints_publisher.publish(self._joints)
        for publisher in self._image_publishers:
            self._image.header.stamp = self.get_clock().now().to_msg()
            publisher.publish(self._image)
            self.published += 1


def main() -> None:
    rclpy.init()
    node = Cameras()

    def answer() -> None:
        tell("ready")
        for _ in sys.stdin:
            tell(node.published)
        rclpy.try_shutdown()

    threading.Thread(target=answer, daemon=True).start()
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        node.destroy_node()


if __name__ == "__main__":
    main()
