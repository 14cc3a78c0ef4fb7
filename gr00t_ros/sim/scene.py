# SPDX-License-Identifier: Apache-2.0
"""The scene on the simulated arm's table, as it is seen and set over DDS."""

from __future__ import annotations

import math
from collections.abc import Sequence

from geometry_msgs.msg import PoseArray, Quaternion
from rclpy.node import Node
from rclpy.time import Time

from gr00t_ros.node.qos import SENSOR
from gr00t_ros.sim.cube_log import CubeLog
from gr00t_ros.sim.demo_processes import DemoProcesses
from gr00t_ros.sim.service_calls import begin_scene
from gr00t_ros.sim.world import CUBE_NAMES, CubePlacement


class Scene:
    """Where the cubes are, from `sim_node/cubes`.

    Args:
        node: Subscribes and calls; another thread spins it.
        bin_position: Centre of the bin, x y z in m.

    Attributes:
        places: Where each cube is, by its name; of meaning while it lies on the table.
    """

    def __init__(self, node: Node, bin_position: Sequence[float]) -> None:
        self.places: dict[str, CubePlacement] = {}
        self._node = node
        self._cubes = CubeLog(bin_position)
        node.create_subscription(PoseArray, "sim_node/cubes", self._on_cubes, SENSOR)

    def begin(self, seed: int, processes: DemoProcesses) -> None:
        """Put the arm home and the cubes where a scene has them, and wait until that is seen."""
        begin_scene(self._node, seed)
        begun_s = self._now_s()
        processes.wait_until(lambda: self._cubes.now_s > begun_s, "the cubes are seen")

    def is_in_bin(self, cube: str) -> bool:
        """Whether a cube lies still in the bin."""
        return self._cubes.is_in_bin(cube)

    def _on_cubes(self, message: PoseArray) -> None:
        poses = dict(zip(CUBE_NAMES, message.poses, strict=True))
        self.places = {
            name: CubePlacement(p.position.x, p.position.y, _yaw_rad(p.orientation))
            for name, p in poses.items()
        }
        positions = {n: (p.position.x, p.position.y, p.position.z) for n, p in poses.items()}
        self._cubes.see(positions, 1e-9 * Time.from_msg(message.header.stamp).nanoseconds)

    def _now_s(self) -> float:
        return float(1e-9 * self._node.get_clock().now().nanoseconds)


def _yaw_rad(quaternion: Quaternion) -> float:
    """The turn about the vertical of a cube that lies on the table."""
    return 2.0 * math.atan2(quaternion.z, quaternion.w)
