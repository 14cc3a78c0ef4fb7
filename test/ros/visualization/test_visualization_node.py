# SPDX-License-Identifier: Apache-2.0
"""The visualization node over DDS: pictures for who subscribes, and nothing for nobody."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, DEACTIVATE, Operator, Robot, chunk_of, overrides
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from gr00t_ros.msg import ActionChunk, VisualizationStatus
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.node.qos import LATCHED, SENSOR
from gr00t_ros.visualization.visualization_node import VisualizationNode

# The tip is 1 m from the elbow, which is 1 m from the base; `parameters` has no wrist.
ARM = """<robot name="arm">
  <link name="base"/><link name="upper"/><link name="lower"/><link name="jaw"/>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="3" effort="1"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/>
    <origin xyz="1 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" velocity="3" effort="1"/></joint>
  <joint name="finger" type="prismatic"><parent link="lower"/><child link="jaw"/>
    <origin xyz="1 0 0"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="1" velocity="3" effort="1"/></joint>
</robot>"""
HORIZON, DT_S = 5, 0.1


class Viewer:
    """A screen that subscribes to some pictures, and the policy node that sends chunks."""

    def __init__(self, peer: Node) -> None:
        self._peer = peer
        self._chunks = peer.create_publisher(ActionChunk, "action_chunk", 5)
        self._descriptions = peer.create_publisher(String, "robot_description", LATCHED)
        self.operator = Operator(peer, "visualization_node")

    def describe(self, urdf: str) -> None:
        self._descriptions.publish(String(data=urdf))

    def look(self, kind: type[Any], topic: str, qos: Any = 10) -> list[Any]:
        received: list[Any] = []
        self._peer.create_subscription(kind, topic, received.append, qos)
        return received

    def send_chunk(self, chunk_id: int = 1, *, age_s: float = 0.0) -> None:
        """A quarter turn of the shoulder, with a straight elbow."""
        wait_until(self._chunks.get_subscription_count, what="the node subscribes to chunks")
        turn = np.linspace(0.0, np.pi / 2, HORIZON)
        values = {
            "arm": np.stack([turn, np.zeros(HORIZON)], axis=1),
            "gripper": np.full((HORIZON, 1), 0.5),
        }
        t0_ns = self._peer.get_clock().now().nanoseconds - round(age_s * 1e9)
        self._chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=chunk_id))

    def send_stop(self) -> None:
        self._chunks.publish(ActionChunk(stop=True, stop_reason="enough"))

    @property
    def chunk_subscribers(self) -> int:
        return int(self._chunks.get_subscription_count())


MakeViewer = Callable[..., Viewer]


@pytest.fixture
def viewer(ros_context: Context, ros_node: Node, live: Callable[[ManagedNode], None]) -> MakeViewer:
    def make(**changes: Any) -> Viewer:
        given = parameters(visualize__rate_hz=20.0, **changes)
        live(VisualizationNode(context=ros_context, parameter_overrides=overrides(given)))
        made = Viewer(ros_node)
        assert made.operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        return made

    return make


def by_kind(message: MarkerArray) -> dict[str, Marker]:
    return {marker.ns: marker for marker in message.markers}


def test_the_tips_path_is_drawn_by_forward_kinematics(viewer: MakeViewer) -> None:
    pytest.importorskip("pinocchio", reason="Pinocchio is not installed: pip install pin")
    screen = viewer(blend_s=0.15, visualize__tips=["jaw"])
    screen.describe(ARM)
    pictures = screen.look(MarkerArray, "chunk_path")
    screen.operator.wait_for_status(lambda s: "/chunk_path" in s.topics, "the demand is seen")

    screen.send_chunk(7, age_s=0.15)

    wait_until(lambda: pictures, what="a picture")
    drawn = by_kind(pictures[0])
    path = drawn["path/jaw"]
    points = [(p.x, p.y, p.z) for p in path.points]
    jaw = np.array([2.0, 0.5])  # of the straight arm; it turns with the shoulder
    for point, turn in zip(points, np.linspace(0.0, np.pi / 2, HORIZON), strict=True):
        turned = [
            np.cos(turn) * jaw[0] - np.sin(turn) * jaw[1],
            np.sin(turn) * jaw[0] + np.cos(turn) * jaw[1],
        ]
        assert point == pytest.approx((*turned, 0.0), abs=1e-9)
    assert path.header.frame_id == "base"
    assert path.colors[0].a < 1.0 <= path.colors[-1].a, "the past is faint"
    assert path.colors[0].b > path.colors[-1].b, "the colours tell the time"
    assert len(drawn["blend/jaw"].points) >= 2
    end = drawn["end/jaw"].pose.position
    assert (end.x, end.y) == pytest.approx(points[-1][:2])
    assert screen.operator.wait_for_status(lambda s: s.chunk_id == 7, "the chunk").reason == ""

    screen.send_stop()
    wait_until(lambda: pictures[-1].markers[0].action == Marker.DELETEALL, what="nothing is drawn")


def test_an_arm_has_a_path_and_a_gripper_has_none_of_its_own(viewer: MakeViewer) -> None:
    pytest.importorskip("pinocchio", reason="Pinocchio is not installed: pip install pin")
    screen = viewer(blend="replace")
    screen.describe(ARM)
    pictures = screen.look(MarkerArray, "chunk_path")
    screen.send_chunk()

    wait_until(lambda: pictures, what="a picture")
    drawn = by_kind(pictures[0])
    assert set(drawn) == {"path/lower", "blend/lower", "end/lower"}
    assert drawn["blend/lower"].action == Marker.DELETE, "there is no blend"


def test_commanded_poses_are_drawn_without_a_description(
    viewer: MakeViewer, ros_node: Node
) -> None:
    screen = viewer(
        action__arm__type="pose_stamped",
        action__arm__topic="target",
        action__arm__joints=None,
        action__arm__representation="xyz_quat",
        action__arm__frame_id="table",
        action__arm__unmeasured=True,
    )
    pictures = screen.look(MarkerArray, "chunk_path")
    wait_until(lambda: screen.chunk_subscribers, what="the node subscribes to chunks")
    poses = np.tile([0.0, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0], (HORIZON, 1))
    poses[:, 0] = np.arange(HORIZON) * 0.1
    now_ns = ros_node.get_clock().now().nanoseconds
    values = {"arm": poses, "gripper": np.zeros((HORIZON, 1))}
    screen._chunks.publish(chunk_of(values, t0_ns=now_ns, dt_s=DT_S))

    wait_until(lambda: pictures, what="a picture")
    path = by_kind(pictures[0])["path/arm"]
    assert path.header.frame_id == "table"
    assert [p.x for p in path.points] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_chunk_is_a_trajectory_and_a_ghost_at_its_end(viewer: MakeViewer, ros_node: Node) -> None:
    screen = viewer()
    Robot(ros_node, camera=False)
    screen.describe(ARM)
    trajectories = screen.look(JointTrajectory, "chunk_trajectory")
    ghosts = screen.look(JointState, "ghost/joint_states")
    screen.send_chunk()

    wait_until(lambda: trajectories, what="a trajectory")
    wait_until(lambda: ghosts and "ghost/wheel" in ghosts[-1].name, what="measured joints, too")
    trajectory = trajectories[0]
    assert list(trajectory.joint_names) == ["shoulder", "elbow", "finger"]
    times_ns = [
        p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in trajectory.points
    ]
    assert times_ns == [0, 100_000_000, 200_000_000, 300_000_000, 400_000_000]
    assert list(trajectory.points[-1].positions) == pytest.approx([np.pi / 2, 0.0, 0.5])
    ghost = dict(zip(ghosts[-1].name, ghosts[-1].position, strict=True))
    assert ghost["ghost/shoulder"] == pytest.approx(np.pi / 2)
    assert ghost["ghost/wheel"] == 9.0, "a joint without a command stays where it is"


def test_the_ghost_moves_along_the_chunk_in_a_loop(viewer: MakeViewer) -> None:
    screen = viewer(visualize__ghost="loop")
    ghosts = screen.look(JointState, "ghost/joint_states")
    screen.send_chunk()

    wait_until(lambda: len(ghosts) > 15, what="a moving ghost")
    turns = [dict(zip(g.name, g.position, strict=True))["ghost/shoulder"] for g in ghosts]
    assert max(turns) - min(turns) > 0.5
    assert any(later < earlier for earlier, later in itertools.pairwise(turns))


def test_the_ghosts_description_waits_for_late_viewers(viewer: MakeViewer) -> None:
    screen = viewer()
    screen.describe(ARM)

    received = screen.look(String, "ghost/robot_description", LATCHED)

    wait_until(lambda: received, what="the description")
    robot = ElementTree.fromstring(received[0].data)
    assert [link.get("name") for link in robot.findall("link")] == [
        "ghost/base",
        "ghost/upper",
        "ghost/lower",
        "ghost/jaw",
    ]


def test_images_are_shown_in_the_policys_size(viewer: MakeViewer, ros_node: Node) -> None:
    screen = viewer(visualize__image_resize="resize:area:32")
    Robot(ros_node)
    images = screen.look(CompressedImage, "policy_images/front/compressed", SENSOR)

    wait_until(lambda: images, what="an image")
    pixels = cv2.imdecode(np.frombuffer(images[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert images[0].format == "jpeg"
    assert pixels.shape == (32, 32, 3)
    assert pixels[0].max() < 30, "the letter box's bar is black"
    assert images[0].header.stamp.sec > 0, "the stamp is the camera's"


def test_nobody_looks_and_nothing_is_subscribed_to(viewer: MakeViewer, ros_node: Node) -> None:
    screen = viewer()
    ready = VisualizationStatus.STATE_READY
    assert screen.operator.wait_for_status(lambda s: s.state == ready, "ready").topics == []
    for topic in ("action_chunk", "joint_states", "front/image_raw"):
        assert ros_node.count_subscribers(topic) == 0

    subscription = ros_node.create_subscription(
        JointTrajectory, "chunk_trajectory", lambda _: None, 10
    )
    wait_until(lambda: screen.chunk_subscribers, what="the node subscribes to chunks")
    assert ros_node.count_subscribers("joint_states") == 0, "a trajectory needs no measurement"
    ros_node.destroy_subscription(subscription)

    wait_until(lambda: not screen.chunk_subscribers, what="the node unsubscribes")
    screen.operator.wait_for_status(lambda s: s.state == ready, "ready again")


def test_what_is_missing_is_named(viewer: MakeViewer) -> None:
    screen = viewer()
    screen.look(MarkerArray, "chunk_path")
    screen.look(CompressedImage, "policy_images/front/compressed", SENSOR)

    reason = screen.operator.wait_for_reason("nobody publishes front/image_raw").reason
    assert "no robot description on robot_description" in reason

    assert screen.operator.change_state(DEACTIVATE) == [True]
    screen.operator.wait_for_reason("the node is not active")


def test_a_tip_that_the_robot_lacks_is_named(viewer: MakeViewer) -> None:
    pytest.importorskip("pinocchio", reason="Pinocchio is not installed: pip install pin")
    screen = viewer(visualize__tips=["jow"])
    screen.describe(ARM)
    screen.look(MarkerArray, "chunk_path")

    screen.operator.wait_for_reason("has no link jow (did you mean jaw?)")


def test_a_resize_that_is_none_is_refused_at_once(
    ros_context: Context,
    ros_node: Node,
    live: Callable[[ManagedNode], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = parameters(visualize__image_resize="256x256")
    live(VisualizationNode(context=ros_context, parameter_overrides=overrides(given)))
    assert Operator(ros_node, "visualization_node").change_state(CONFIGURE) == [False]
    assert "visualize.image_resize: '256x256' names no resize" in capfd.readouterr().err
