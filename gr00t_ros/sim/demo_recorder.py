# SPDX-License-Identifier: Apache-2.0
"""What the demo sees of itself, over DDS like anybody else: commands, joints, chunks, the cubes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.chunks import CHUNK_TOPIC, is_stop
from gr00t_ros.images import rgb_from_image
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.qos import CHUNK, SENSOR, STATUS

LIFTED_M = 0.06  # a cube's centre this high above the table is in the gripper's hold


@dataclass
class JointHistory:
    """Positions over time: s on the nodes' clock, and rad (m for the gripper)."""

    names: tuple[str, ...] = ()
    times_s: list[float] = field(default_factory=list)
    positions: list[Sequence[float]] = field(default_factory=list)

    def add(self, time_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        """Keep one row; the joints may come in any order, and rows that lack some are left out."""
        if not self.names:
            self.names = tuple(names)
        by_name = dict(zip(names, positions, strict=True))
        if not set(self.names) <= by_name.keys():
            return
        self.times_s.append(time_s)
        self.positions.append([by_name[name] for name in self.names])

    def of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Float64 (rows, len(names))."""
        columns = [self.names.index(name) for name in names]
        return np.asarray(self.positions, dtype=np.float64)[:, columns]


class DemoRecorder(Node):
    """Listens to the demo's topics, and calls its services.

    Attributes:
        commanded, measured: The joints over time.
        round_trips_s: Of every chunk, s.
        policy_status, control_status: The newest, or None.
        lifted_picture: uint8 (H, W, 3) RGB of the front camera when a cube was highest, or None.
        lifted_at_s: The time of that picture, s.
    """

    def __init__(self) -> None:
        super().__init__("demo")
        self.commanded, self.measured = JointHistory(), JointHistory()
        self.round_trips_s: list[float] = []
        self.policy_status: PolicyStatus | None = None
        self.control_status: PolicyStatus | None = None
        self.lifted_picture: NDArray[np.uint8] | None = None
        self.lifted_at_s: float | None = None
        self.cube_heights_m: list[float] = []
        self._highest_m = LIFTED_M
        self._recording = False
        self.create_subscription(JointState, "joint_states", self._on_joints, SENSOR)
        self.create_subscription(JointTrajectory, "arm/joint_trajectory", self._on_command, 10)
        self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        self.create_subscription(Image, "front/image_raw", self._on_image, SENSOR)
        self.create_subscription(PoseArray, "sim_node/cubes", self._on_cubes, SENSOR)
        for name in ("policy", "control"):
            self.create_subscription(
                PolicyStatus, f"{name}_node/status", self._on_status(f"{name}_status"), STATUS
            )

    def start(self) -> None:
        """Record from now on."""
        self._recording = True

    def call(self, service: str, timeout_s: float = 10.0) -> None:
        """Call a Trigger service while another thread spins this node.

        Raises:
            TimeoutError: It is not there, or does not answer.
            RuntimeError: It answered that it could not.
        """
        client = self.create_client(Trigger, service)
        try:
            if not client.wait_for_service(timeout_s):
                raise TimeoutError(f"no service {service} within {timeout_s:g} s")
            response = self._answer(client.call_async(Trigger.Request()), service, timeout_s)
        finally:
            self.destroy_client(client)
        if not response.success:
            raise RuntimeError(f"{service} failed: {response.message}")

    @staticmethod
    def _answer(future: Future[Any], service: str, timeout_s: float) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            raise TimeoutError(f"{service} did not answer within {timeout_s:g} s")
        return future.result()

    def _on_joints(self, message: JointState) -> None:
        if self._recording:
            self.measured.add(_stamp_s(message), message.name, message.position)

    def _on_command(self, message: JointTrajectory) -> None:
        if self._recording:
            # Its stamp is 0, which means: from its arrival on.
            now_s = self.get_clock().now().nanoseconds * 1e-9
            self.commanded.add(now_s, message.joint_names, message.points[0].positions)

    def _on_chunk(self, message: ActionChunk) -> None:
        if self._recording and not is_stop(message):
            self.round_trips_s.append(message.policy_time_s)

    def _on_cubes(self, message: PoseArray) -> None:
        self.cube_heights_m = [pose.position.z for pose in message.poses]

    def _on_image(self, message: Image) -> None:
        """Keep the picture of the highest lift so far, a little apart from the last one kept."""
        height_m = max(self.cube_heights_m, default=0.0)
        if self._recording and height_m > self._highest_m + 0.005:
            self._highest_m = height_m
            self.lifted_picture = rgb_from_image(message).copy()
            self.lifted_at_s = _stamp_s(message)

    def _on_status(self, attribute: str) -> Any:
        return lambda message: setattr(self, attribute, message)


def _stamp_s(message: Any) -> float:
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)
