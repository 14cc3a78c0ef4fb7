# SPDX-License-Identifier: Apache-2.0
"""The simulated arm over DDS: what it publishes, and how it takes trajectories and resets."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, PoseArray
from helpers import wait_for_log, wait_until
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

import gr00t_ros.sim  # noqa: F401  # chooses the OpenGL backend, so before mujoco
from gr00t_ros.sim.kinematics import JOINT_NAMES

pytest.importorskip("mujoco")

from gr00t_ros.sim.rendering import RenderingUnavailableError
from gr00t_ros.sim.sim_node import SimNode
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm, sample_scene


class Watcher:
    """The newest message of a topic, and the stamps of all."""

    def __init__(self, node: Node, message_type: type, topic: str, qos: Any = 50) -> None:
        self.newest: Any = None
        self.stamps_s: list[float] = []
        node.create_subscription(message_type, topic, self._on_message, qos)

    def _on_message(self, message: Any) -> None:
        stamp = message.header.stamp
        self.stamps_s.append(stamp.sec + stamp.nanosec * 1e-9)
        self.newest = message

    def joint(self, name: str) -> float:
        return self.newest.position[list(self.newest.name).index(name)]


StartSim = Callable[..., SimNode]


@pytest.fixture
def start_sim(ros_context: Context, spin: Callable[[Node], Node]) -> Iterator[StartSim]:
    """A function that starts the node, without cameras unless told otherwise."""
    nodes: list[SimNode] = []

    def start(**parameters: Any) -> SimNode:
        values = {"publish_images": False, **parameters}
        node = SimNode(
            context=ros_context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        nodes.append(node)
        node.start()
        spin(node)
        return node

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def joints(ros_node: Node, start_sim: StartSim) -> Watcher:
    """The joint states of a running arm, the first of which has come."""
    watcher = Watcher(ros_node, JointState, "joint_states")
    start_sim()
    wait_until(lambda: watcher.newest is not None, what="joint states")
    return watcher


def trajectory_publisher(node: Node) -> Any:
    publisher = node.create_publisher(JointTrajectory, "arm/joint_trajectory", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1, what="the arm's subscription")
    return publisher


def trajectory(names: list[str], *points: tuple[float, list[float]]) -> JointTrajectory:
    message = JointTrajectory(joint_names=names)
    for time_s, positions in points:
        sec, nanosec = divmod(round(time_s * 1e9), 10**9)
        message.points.append(
            JointTrajectoryPoint(
                positions=positions, time_from_start=Duration(sec=sec, nanosec=nanosec)
            )
        )
    return message


def test_joint_states_name_all_joints_and_come_about_100_times_a_second(joints: Watcher) -> None:
    assert tuple(joints.newest.name) == JOINT_NAMES
    assert len(joints.newest.position) == len(joints.newest.velocity) == 7
    joints.stamps_s.clear()
    wait_until(lambda: len(joints.stamps_s) >= 200, what="200 joint states")
    rate_hz = (len(joints.stamps_s) - 1) / (joints.stamps_s[-1] - joints.stamps_s[0])
    assert 50 < rate_hz < 150
    assert joints.stamps_s == sorted(joints.stamps_s)
    assert joints.stamps_s[-1] == pytest.approx(time.time(), abs=5.0)


def test_a_trajectory_in_any_order_moves_the_joints_it_names(
    ros_node: Node, joints: Watcher
) -> None:
    goals = {"gripper": 0.02, "wrist_roll": -0.4, "shoulder_pan": 0.3}
    publisher = trajectory_publisher(ros_node)
    publisher.publish(trajectory(list(goals), (0.0, list(goals.values()))))
    expected = {**dict(zip(JOINT_NAMES, SimulatedArm().targets, strict=True)), **goals}
    wait_until(
        lambda: all(abs(joints.joint(name) - goal) < 0.01 for name, goal in expected.items()),
        what="the arm at its goals",
    )
    assert joints.joint("gripper") == pytest.approx(0.02, abs=1e-3)


def test_points_are_reached_in_turn_at_their_times(ros_node: Node, joints: Watcher) -> None:
    publisher = trajectory_publisher(ros_node)
    publisher.publish(trajectory(["shoulder_pan"], (0.8, [0.5]), (1.6, [-0.5])))
    seen: list[float] = []

    def arrived() -> bool:
        seen.append(joints.joint("shoulder_pan"))
        return abs(seen[-1] + 0.5) < 0.02

    wait_until(arrived, what="the last point")
    assert max(seen) == pytest.approx(0.5, abs=0.1)
    # Interpolated, not jumped: 1 rad in 0.8 s passes the middle on its way.
    assert any(abs(position) < 0.2 for position in seen[seen.index(max(seen)) :])


@pytest.mark.parametrize(
    "bad",
    [
        trajectory(["shoulder_pan", "tail"], (0.0, [0.5, 0.5])),
        trajectory(["shoulder_pan", "elbow_flex"], (0.0, [0.5])),
        trajectory(["shoulder_pan"], (0.0, [math.nan])),
    ],
    ids=["unknown joint", "wrong length", "nan"],
)
def test_a_bad_trajectory_moves_nothing_and_the_next_one_is_followed(
    ros_node: Node, joints: Watcher, bad: JointTrajectory
) -> None:
    publisher = trajectory_publisher(ros_node)
    publisher.publish(bad)
    publisher.publish(trajectory(["wrist_yaw"], (0.0, [0.4])))
    wait_until(lambda: joints.joint("wrist_yaw") > 0.35, what="the good trajectory")
    assert joints.joint("shoulder_pan") == pytest.approx(0.0, abs=0.02)


def test_a_refusal_names_the_joint_in_the_log(
    ros_node: Node, joints: Watcher, capfd: pytest.CaptureFixture[str]
) -> None:
    trajectory_publisher(ros_node).publish(trajectory(["tail"], (0.0, [0.5])))
    wait_for_log(capfd, "unknown joint 'tail'")


def test_a_cube_is_moved_by_hand_and_not_into_another_one(
    ros_node: Node, start_sim: StartSim, capfd: pytest.CaptureFixture[str]
) -> None:
    cubes = Watcher(ros_node, PoseArray, "sim_node/cubes")
    start_sim(scene_seed=4)
    places = {
        name: ros_node.create_publisher(Point, f"sim_node/cubes/{name}", 1) for name in CUBE_NAMES
    }
    for publisher in places.values():
        wait_until(publisher.get_subscription_count, what="the simulation listens")

    def position(name: str) -> tuple[float, float]:
        point = cubes.newest.poses[CUBE_NAMES.index(name)].position
        return point.x, point.y

    wait_until(lambda: cubes.newest is not None, what="the cubes")
    places["red"].publish(Point(x=0.05, y=0.25))
    wait_until(lambda: np.allclose(position("red"), (0.05, 0.25), atol=1e-3), what="red moved")
    places["green"].publish(Point(x=0.05, y=0.26))
    wait_for_log(capfd, "there is no room for the green cube: the red cube is there")
    places["green"].publish(Point(x=0.0, y=math.nan))
    wait_for_log(capfd, "the green cube must lie within 0.3 m of the base, got x 0, y nan")
    places["green"].publish(Point())
    wait_for_log(capfd, "is inside the base of the arm")
    assert np.allclose(position("red"), (0.05, 0.25), atol=1e-3)


def reset(node: Node) -> None:
    client = node.create_client(Trigger, "sim_node/reset")
    assert client.wait_for_service(timeout_sec=60.0)
    answered = threading.Event()
    future = client.call_async(Trigger.Request())
    future.add_done_callback(lambda _: answered.set())
    assert answered.wait(60.0)
    assert future.result().success


def test_reset_brings_back_the_arm_and_the_scene_of_the_parameter(
    ros_node: Node, start_sim: StartSim
) -> None:
    joints = Watcher(ros_node, JointState, "joint_states")
    cubes = Watcher(ros_node, PoseArray, "sim_node/cubes")
    sim = start_sim(scene_seed=4)

    def cubes_lie_as_in(seed: int) -> bool:
        if cubes.newest is None:
            return False
        placed = [(pose.position.x, pose.position.y) for pose in cubes.newest.poses]
        scene = [
            (sample_scene(seed)[name].x_m, sample_scene(seed)[name].y_m) for name in CUBE_NAMES
        ]
        return np.allclose(placed, scene, atol=1e-3)

    wait_until(lambda: cubes_lie_as_in(4), what="the cubes of scene 4")
    publisher = trajectory_publisher(ros_node)
    publisher.publish(trajectory(["shoulder_pan"], (0.0, [-0.8])))
    wait_until(lambda: joints.joint("shoulder_pan") < -0.75, what="the arm aside")

    sim.set_parameters([Parameter("scene_seed", value=5)])
    reset(ros_node)
    wait_until(lambda: cubes_lie_as_in(5), what="the cubes of scene 5")
    wait_until(lambda: abs(joints.joint("shoulder_pan")) < 0.01, what="the arm home")


def test_a_reset_forgets_the_commands_that_wait(ros_node: Node, joints: Watcher) -> None:
    publisher = trajectory_publisher(ros_node)
    publisher.publish(trajectory(["shoulder_pan"], (0.0, [-0.8])))
    wait_until(lambda: joints.joint("shoulder_pan") < -0.75, what="the arm aside")
    for _ in range(10):
        publisher.publish(trajectory(["shoulder_pan"], (0.0, [-0.8])))
    reset(ros_node)
    seen = len(joints.stamps_s)
    wait_until(lambda: len(joints.stamps_s) > seen + 50, what="joint states after the reset")
    assert abs(joints.joint("shoulder_pan")) < 0.05


def test_cameras_publish_rgb_pictures_of_the_size_asked_for(
    ros_node: Node, start_sim: StartSim
) -> None:
    joints = Watcher(ros_node, JointState, "joint_states")
    cameras = {
        name: Watcher(ros_node, Image, f"{name}/image_raw", qos_profile_sensor_data)
        for name in ("front", "wrist")
    }
    try:
        # Small, so that they pass a default DDS profile, which drops big ones.
        start_sim(publish_images=True, image_width=160, image_height=120, image_rate_hz=20.0)
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    for name, camera in cameras.items():
        wait_until(lambda camera=camera: len(camera.stamps_s) >= 10, what=f"pictures of {name}")
        message = camera.newest
        assert (message.height, message.width, message.step) == (120, 160, 480)
        assert message.encoding == "rgb8"
        assert message.header.frame_id == f"{name}_camera"
        assert np.frombuffer(message.data, np.uint8).std() > 10
    # A picture bears the time of a state that was published, not that of its rendering. A busy
    # machine loses some of both.
    wait_until(
        lambda: set(cameras["front"].stamps_s).intersection(joints.stamps_s),
        what="a picture with the stamp of a joint state",
    )


def test_an_impossible_parameter_is_refused(start_sim: StartSim) -> None:
    with pytest.raises(Exception, match="image_rate_hz"):
        start_sim(image_rate_hz=0.0)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_cleanly_however_often_it_is_asked_to(
    ros_node: Node, how: signal.Signals, tmp_path: Path
) -> None:
    joints = Watcher(ros_node, JointState, "joint_states")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "gr00t_ros.sim.sim_node"]
    command += ["--ros-args", "-p", "publish_images:=false"]
    with (tmp_path / "errors").open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        wait_until(lambda: joints.newest is not None, what="joint states")
        ends_at = time.monotonic() + 60.0
        while process.poll() is None:  # the terminal and launch both send it
            assert time.monotonic() < ends_at, (tmp_path / "errors").read_text()
            process.send_signal(how)
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    errors = (tmp_path / "errors").read_text()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_without_opengl_the_process_names_the_packages_and_fails() -> None:
    environment = {
        **os.environ,
        "MUJOCO_GL": "disable",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gr00t_ros.sim.sim_node"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "libegl1 libgl1-mesa-dri" in done.stderr
