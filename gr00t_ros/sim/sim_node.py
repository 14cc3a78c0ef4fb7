# SPDX-License-Identifier: Apache-2.0
"""``sim_node``: the simulated arm as ROS 2 sees a real one, stepped in real time.

Publishes:
    joint_states (sensor_msgs/JointState): all seven joints in rad and rad/s, the
        gripper in m and m/s.
    front/image_raw, wrist/image_raw (sensor_msgs/Image): rgb8, stamped with the time of the state
        that they show.
    ~/cubes (geometry_msgs/PoseArray): the cubes in the order red, green, blue, in m, in the base
        frame (x forward, y left, z up, origin on the table).

Subscribes:
    arm/joint_trajectory (trajectory_msgs/JointTrajectory): any joints in any order, by name. It
        starts when it arrives; a single point at 0 s means: go there now.
    ~/cubes/red, ~/cubes/green, ~/cubes/blue (geometry_msgs/Point): lays that cube down at x, y on
        the table; z is not used.

Services:
    ~/reset (std_srvs/Trigger): the arm home and the cubes as in scene ``scene_seed``.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.node.parent_watch import ParentWatch
from gr00t_ros.node.stop_signals import stop_signals
from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError
from gr00t_ros.sim.trajectory import (
    TrajectoryFollower,
    TrajectoryPoint,
    TrajectoryRefusedError,
)
from gr00t_ros.sim.world import CAMERA_NAMES, CUBE_NAMES, CubePlacement, SimulatedArm

_BASE_FRAME = "base"
_CUBES_PERIOD_S = 1 / 30
# Behind by more than this (a suspended machine), the lost time is skipped, not caught up.
_MAX_LAG_S = 0.2
# A signal is noticed when the executor wakes up, which the cubes' timer makes it do anyway.
_SIGNAL_POLL_S = 0.2


class SimNode(Node):
    """The simulated arm as a node: physics and cameras each in a thread of their own.

    Attributes:
        failed: Whether one of them has ended with an error.

    Args:
        **node_options: Passed on to ``rclpy.node.Node``.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("sim_node", **node_options)
        self.failed = False
        self._declare_parameters()
        self._arm = SimulatedArm(self._scene_seed())
        self._follower = TrajectoryFollower(self._arm.joint_names)
        self._stamp = self.get_clock().now().to_msg()
        self._lock = threading.Lock()  # guards the arm, the follower and the stamp
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

        self._joint_states = self.create_publisher(JointState, "joint_states", 10)
        self._cubes = self.create_publisher(PoseArray, "~/cubes", 10)
        self._cameras = self._make_cameras() if self._value("publish_images") else []
        self._trajectories = self.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self._on_trajectory, 10
        )
        for name in CUBE_NAMES:
            place = functools.partial(self._on_cube, name)
            self.create_subscription(Point, f"~/cubes/{name}", place, 10)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_timer(_CUBES_PERIOD_S, self._publish_cubes)

    def start(self) -> None:
        """Start the physics and, with ``publish_images``, the cameras.

        Raises:
            RenderingUnavailableError: If there is no OpenGL for the cameras.
        """
        if self._cameras:
            rendering: Future[None] = Future()
            self._start_thread("cameras", lambda: self._run_cameras(rendering))
            rendering.result()
        self._start_thread("physics", self._run_physics)

    def stop(self) -> None:
        """End what ``start`` began; the node can then be destroyed."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        def run() -> None:
            completed = False
            try:
                target()
                completed = True
            finally:
                self.failed = self.failed or not completed

        thread = threading.Thread(target=run, name=name)
        self._threads.append(thread)
        thread.start()

    def _declare_parameters(self) -> None:
        for name, default, low, high, description in (
            ("scene_seed", 0, 0, 2**31 - 1, "Where the cubes lie; takes effect at ~/reset."),
            ("image_width", 640, 16, 4096, "Width of the images in pixels."),
            ("image_height", 480, 16, 4096, "Height of the images in pixels."),
        ):
            allowed = [IntegerRange(from_value=low, to_value=high)]
            self._declare(name, default, description, integer_range=allowed)
        for name, default, low, high, description in (
            ("joint_state_rate_hz", 100.0, 10.0, 500.0, "Joint states and commands, in Hz."),
            ("image_rate_hz", 30.0, 1.0, 120.0, "Images of each camera, in Hz."),
        ):
            allowed = [FloatingPointRange(from_value=low, to_value=high)]
            self._declare(name, default, description, floating_point_range=allowed)
        self._declare("publish_images", True, "Whether to render and publish the cameras.")
        self._declare("end_with_pid", 0, "The node ends with the process of this number; 0: none.")

    def _declare(self, name: str, default: Any, description: str, **ranges: Any) -> None:
        read_only = name != "scene_seed"
        descriptor = ParameterDescriptor(description=description, read_only=read_only, **ranges)
        self.declare_parameter(name, default, descriptor)

    @property
    def end_with_pid(self) -> int:
        """The process whose end ends this node; 0 for none."""
        return int(self._value("end_with_pid"))

    def _make_cameras(self) -> list[_CameraTopic]:
        width, height = self._value("image_width"), self._value("image_height")
        return [_CameraTopic(self, name, width=width, height=height) for name in CAMERA_NAMES]

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _scene_seed(self) -> int:
        return int(self._value("scene_seed"))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        points = [
            TrajectoryPoint(
                point.time_from_start.sec + point.time_from_start.nanosec * 1e-9, point.positions
            )
            for point in message.points
        ]
        try:
            with self._lock:
                current = dict(zip(self._arm.joint_names, self._arm.targets.tolist(), strict=True))
                self._follower.accept(
                    message.joint_names, points, current=current, now_s=time.monotonic()
                )
        except TrajectoryRefusedError as error:
            self.get_logger().warning(
                f"joint trajectory refused: {error}", throttle_duration_sec=1.0
            )

    def _on_cube(self, name: str, message: Point) -> None:
        try:
            with self._lock:
                yaw_rad = self._arm.cube_yaw_rad(name)
                self._arm.place_cube(name, CubePlacement(message.x, message.y, yaw_rad))
        except ValueError as error:
            self.get_logger().warning(str(error))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        seed = self._scene_seed()
        with self._lock:
            self._arm.reset(seed)
            self._follower.clear()
        # What was commanded before and is not received yet would move the arm away from home.
        while self._trajectories.handle.take_message(JointTrajectory, True) is not None:
            pass
        response.success = True
        response.message = f"scene {seed}"
        return response

    def _run_physics(self) -> None:
        period_s = 1.0 / self._value("joint_state_rate_hz")
        message = JointState(name=list(self._arm.joint_names))
        # The physics has its own step; what a period leaves over is carried to the next.
        owed_s = 0.0
        for _ in _deadlines(period_s, self._stop):
            owed_s += period_s
            steps = int(owed_s / self._arm.timestep_s + 1e-6)
            owed_s -= steps * self._arm.timestep_s
            with self._lock:
                self._arm.set_targets(self._follower.targets(time.monotonic()))
                self._arm.step(steps)
                self._stamp = self.get_clock().now().to_msg()
                message.header.stamp = self._stamp
                message.position = self._arm.positions.tolist()
                message.velocity = self._arm.velocities.tolist()
            self._joint_states.publish(message)

    def _run_cameras(self, started: Future[None]) -> None:
        # An OpenGL context belongs to the thread that made it: made, used and freed in here.
        height, width, _ = self._cameras[0].pixels.shape
        try:
            renderer = CameraRenderer(self._arm.model, width=width, height=height)
        except RenderingUnavailableError as error:
            started.set_exception(error)
            return
        started.set_result(None)
        with contextlib.closing(renderer):
            for _ in _deadlines(1.0 / self._value("image_rate_hz"), self._stop):
                with self._lock:
                    qpos, stamp = self._arm.qpos, self._stamp
                for camera in self._cameras:
                    renderer.render(qpos, camera.name, out=camera.pixels)
                    camera.image.header.stamp = stamp
                    camera.publisher.publish(camera.image)

    def _publish_cubes(self) -> None:
        message = PoseArray()
        message.header.frame_id = _BASE_FRAME
        with self._lock:
            message.header.stamp = self._stamp
            message.poses = [self._cube_pose(name) for name in CUBE_NAMES]
        self._cubes.publish(message)

    def _cube_pose(self, name: str) -> Pose:
        x, y, z = self._arm.cube_position(name).tolist()
        qx, qy, qz, qw = self._arm.cube_quaternion(name).tolist()
        return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


class _CameraTopic:
    """A camera's publisher, and the message whose own memory the pictures are rendered into."""

    def __init__(self, node: Node, name: str, *, width: int, height: int) -> None:
        self.name = name
        self.publisher = node.create_publisher(Image, f"{name}/image_raw", qos_profile_sensor_data)
        self.image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        self.image.header.frame_id = f"{name}_camera"
        # An array of typecode B stays the message's own memory; anything else would be copied into
        # one at each assignment (0.5 ms for 640 x 480, rendering in place costs nothing).
        self.image.data = array("B", bytes(height * width * 3))
        self.pixels = np.frombuffer(self.image.data, np.uint8).reshape(height, width, 3)


def _deadlines(period_s: float, stop: threading.Event) -> Iterator[None]:
    """Yields every ``period_s`` on the monotonic clock until ``stop`` is set."""
    deadline_s = time.monotonic()
    while not stop.wait(max(0.0, deadline_s - time.monotonic())):
        yield
        deadline_s = max(deadline_s + period_s, time.monotonic() - _MAX_LAG_S)


def main(args: list[str] | None = None) -> int:
    """Run ``sim_node`` until SIGINT, SIGTERM or the end of ``end_with_pid``.

    Returns:
        1 if it could not start or go on, else 0.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    with stop_signals() as stopping:
        node = SimNode()
        parent = ParentWatch(node.end_with_pid)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            node.start()
            while not (stopping.is_set() or node.failed or parent.has_ended()):
                executor.spin_once(timeout_sec=_SIGNAL_POLL_S)
        except RenderingUnavailableError as error:
            node.get_logger().fatal(str(error))
            return 1
        finally:
            node.stop()
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()
    return int(node.failed)


if __name__ == "__main__":
    sys.exit(main())
