# SPDX-License-Identifier: Apache-2.0
"""A policy of poses drives arms through both nodes and DDS, against the kinematics of the URDF."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, Operator, overrides
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import String

pytest.importorskip("pinocchio", reason="computes the kinematics")
from bench.arms import Arm, real_arms, seven_joint_arm
from gr00t_policy_core import ModalityConfig, ModalityPolicy, rotation
from gr00t_policy_core.kinematics.chain import Chain
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.interfaces.command_publisher import CommandPublisher
from gr00t_ros.msg import ControlStatus, PolicyStatus
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy.policy_node import PolicyNode

RATE_HZ, CONTROL_HZ = 10.0, 100.0
HORIZON = 41
SIDE_M, TURN_RAD = 0.04, 0.1
KEYS = ("eef", "gripper_rotation")
ARMS = [
    seven_joint_arm(),
    *(real_arms() or [pytest.param(None, marks=pytest.mark.skip("no example-robot-data"))]),
]


def square(start: np.ndarray, joints: int) -> np.ndarray:
    """Poses around a square from a start and back to it, turning there and back, (horizon, 7).

    An arm of five joints turns as far as it can.
    """
    edges = np.linspace(0.0, 4.0, HORIZON)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * SIDE_M
    smooth = edges - np.sin(2.0 * np.pi * edges) / (2.0 * np.pi)  # at rest in every corner
    ways = [np.interp(smooth, range(5), corners[:, axis]) for axis in (0, 1)]
    poses = np.repeat(start[None], HORIZON, axis=0)
    poses[:, 1] += ways[0]
    poses[:, 2] += ways[1]
    turn = TURN_RAD * np.sin(np.pi * smooth / 4.0)
    rotvecs = np.stack([0.3 * turn, turn, -turn], axis=1)
    turned = rotation.quaternion_from_rotvec(rotvecs)
    poses[:, 3:] = rotation.quaternion_product(turned, poses[:, 3:])
    return poses


class SquarePolicy(ModalityPolicy):
    """Answers a square that begins at the pose of its state; with `shift_m`, out of reach.

    Position and rotation are keys of their own, as in many datasets.
    """

    def __init__(self, path: np.ndarray) -> None:
        super().__init__()
        self._path = path
        self._configs = {
            "state": ModalityConfig([0], ["eef"]),
            "action": ModalityConfig(list(range(HORIZON)), list(KEYS)),
        }
        self.states: list[np.ndarray] = []
        self.shift_m = 0.0
        self.go = threading.Event()  # the second answer and all that follow wait for it
        self.go.set()

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self._configs

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": {"eef": 9}, "action": dict(zip(KEYS, (3, 6), strict=True))}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.states.append(observation["state"]["eef"][0, 0])
        if len(self.states) > 1:
            self.go.wait(timeout=60.0)
        matrices = rotation.matrix_from_quaternion(self._path[:, 3:])
        position = self._path[:, :3] + np.linspace(0.0, self.shift_m, HORIZON)[:, None]
        action = {KEYS[0]: position, KEYS[1]: rotation.rot6d_from_matrix(matrices)}
        return {key: rows[None].astype(np.float32) for key, rows in action.items()}, {}


class Scene:
    """An arm that stands where it is commanded to, both nodes, and everything commanded."""

    def __init__(
        self,
        arm: Arm,
        peer: Node,
        context: Context,
        live: Callable[[ManagedNode], None],
        monkeypatch: pytest.MonkeyPatch,
        *,
        is_once: bool = False,
        **changes: Any,
    ) -> None:
        self.peer = peer
        self.chain = Chain(arm.urdf, arm.base, arm.tip)
        self.home = np.array(arm.home, dtype=np.float64)
        self.path = square(self.chain.pose(self.home), self.chain.size)
        self.commanded: list[np.ndarray] = []
        self.joints = self.home
        self.policy_of_poses = SquarePolicy(self.path)
        if is_once:
            self.policy_of_poses.go.clear()
        self._tap(monkeypatch)
        self._states = peer.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        description = peer.create_publisher(String, "robot_description", latched)
        peer.create_timer(0.01, self._publish)
        self._commands = peer.create_subscription(JointState, "commands", lambda _: None, 10)
        self.policy = Operator(peer, "policy_node")
        self.control = Operator(peer, "control_node")
        values = {**parameters(arm, self.chain), **changes}
        self.policy_node = PolicyNode(
            policy_factory=lambda _: self.policy_of_poses,
            context=context,
            parameter_overrides=overrides(values),
        )
        live(self.policy_node)
        live(ControlNode(context=context, parameter_overrides=overrides(values)))
        assert self.control.change_state(CONFIGURE, ACTIVATE) == [True, True]
        assert self.policy.trigger("start").success
        self.policy.wait_for_reason("no robot description on robot_description")
        description.publish(String(data=arm.urdf))

    def _tap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish = CommandPublisher.publish

        def tapped(publisher: CommandPublisher, values: Any, stamp: Any) -> None:
            self.joints = np.array(values["arm"])
            self.commanded.append(self.joints)
            publish(publisher, values, stamp)

        monkeypatch.setattr(CommandPublisher, "publish", tapped)

    def _publish(self) -> None:
        message = JointState(name=list(self.chain.joints), position=self.joints.tolist())
        message.header.stamp = self.peer.get_clock().now().to_msg()
        self._states.publish(message)

    def tips(self) -> np.ndarray:
        """The poses of all commands (n, 7)."""
        return np.array([self.chain.pose(joints) for joints in list(self.commanded)])


def parameters(arm: Arm, chain: Chain) -> dict[str, Any]:
    end_effector = {
        "type": "end_effector",
        "joints": list(chain.joints),
        "base": arm.base,
        "tip": arm.tip,
        "representation": "xyz_rot6d",
    }
    action = {
        **end_effector,
        "command": "joint_state",
        "topic": "commands",
        "keys": list(KEYS),
        "max_following_error": 5.0,
    }
    if chain.size < 6:
        action |= {"orientation_tolerance": 0.3}
    return {
        "action_rate_hz": RATE_HZ,
        "control_rate_hz": CONTROL_HZ,
        "inference": "sync",
        "interpolation": "cubic",
        "max_age_s": 5.0,
        "max_observation_age_s": 60.0,
        "max_jump": 3.0,
        **{f"state.eef.{name}": value for name, value in end_effector.items()},
        "state.eef.topic": "joint_states",
        **{f"action.arm.{name}": value for name, value in action.items()},
    }


@pytest.fixture
def make_scene(
    ros_node: Node,
    ros_context: Context,
    live: Callable[[ManagedNode], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(arm: Arm, **changes: Any) -> Scene:
        scenes.append(Scene(arm, ros_node, ros_context, live, monkeypatch, **changes))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.policy_of_poses.go.set()


def distances(tips: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each tip is from the nearest place on a path: m, and rad there."""
    fine = np.linspace(0.0, len(path) - 1.0, 20 * len(path))
    dense = np.stack([np.interp(fine, range(len(path)), column) for column in path.T], axis=1)
    apart = np.linalg.norm(tips[:, None, :3] - dense[None, :, :3], axis=2)
    nearest = np.argmin(apart, axis=1)
    dense[:, 3:] /= np.linalg.norm(dense[:, 3:], axis=1, keepdims=True)
    cosines = np.abs(np.sum(tips[:, 3:] * dense[nearest, 3:], axis=1))
    return apart.min(axis=1), 2.0 * np.arccos(np.minimum(cosines, 1.0))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name if arm else "real arms")
def test_an_arm_traces_the_square_of_a_policy(arm: Arm, make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(arm, is_once=True)
    wait_until(lambda: len(scene.commanded) > CONTROL_HZ * HORIZON / RATE_HZ, 120.0)
    scene.control.wait_for_reason("chunk 1 ended and no other came")

    commanded = np.array(scene.commanded)
    lower = np.array([limit.lower for limit in scene.chain.limits])
    upper = np.array([limit.upper for limit in scene.chain.limits])
    assert (commanded >= lower).all()
    assert (commanded <= upper).all()
    assert np.abs(np.diff(commanded, axis=0)).max() * CONTROL_HZ <= 3.0 + 1e-9
    state = scene.policy_of_poses.states[0]
    np.testing.assert_allclose(state[:3], scene.path[0, :3], atol=1e-5)
    tips = scene.tips()
    position_m, orientation_rad = distances(tips, scene.path)
    assert np.ptp(tips[:, 1]) > 0.9 * SIDE_M
    assert position_m.max() < 1e-3
    if scene.chain.size >= 6:
        assert orientation_rad.max() < 5e-3
    status = scene.policy.wait_for_status(lambda s: s.end_effectors, "end effectors")
    (report,) = status.end_effectors
    assert report.name == "action.arm"
    assert report.position_error < 1e-3
    assert report.solve_time.last_s > 0.0
    assert report.manipulability > 0.0


def test_a_chunk_out_of_reach_is_refused_with_the_step(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(seven_joint_arm())
    wait_until(lambda: scene.commanded, 120.0)
    scene.policy_of_poses.shift_m = 2.0
    status = scene.policy.wait_for_reason("is unreachable")
    assert status.state == PolicyStatus.STATE_WAITING
    assert "action.arm: step" in status.reason
    scene.control.wait_for_status(lambda s: s.state == ControlStatus.STATE_HOLDING, "holding")


def test_a_chunk_may_be_cut_short(make_scene: Callable[..., Scene]) -> None:
    changes = {"action.arm.on_unreachable": "truncate"}
    scene = make_scene(seven_joint_arm(), **changes)
    scene.policy_of_poses.shift_m = 0.8
    status = scene.policy.wait_for_reason("is unreachable")
    assert status.state == PolicyStatus.STATE_RUNNING
    wait_until(lambda: len(scene.commanded) > 50, 120.0)
    tips = scene.tips()
    assert np.linalg.norm(tips[:, :3] - scene.path[0, :3], axis=1).max() > 0.01


def test_the_tip_stops_at_the_floor_with_its_name(make_scene: Callable[..., Scene]) -> None:
    arm = seven_joint_arm()
    height = float(Chain(arm.urdf, arm.base, arm.tip).pose(np.array(arm.home))[2]) + 0.02
    changes = {
        "workspace.arm.base": arm.base,
        "workspace.arm.tip": arm.tip,
        "workspace.arm.floor": [0.0, 0.0, -1.0, -height],
    }
    scene = make_scene(arm, **changes)
    scene.control.wait_for_reason(
        "the tip of workspace.arm cannot go further: it would cross floor"
    )
    wait_until(lambda: len(scene.commanded) > 100, 120.0)
    heights = scene.tips()[:, 2]
    assert heights.max() <= height
    assert heights.max() > height - 0.005
