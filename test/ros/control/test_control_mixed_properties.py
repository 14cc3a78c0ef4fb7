# SPDX-License-Identifier: Apache-2.0
"""A control node of many kinds of commands, whatever befalls it: a policy, a person, a shadow.

An arm is commanded by its pose, a gripper by its joint, a base by a twist, wheels by velocities. No
two consecutive commands differ by more than the limits allow, the first one is where the robot is
measured, and no velocity stays commanded where nothing is commanded any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, Twist
from helpers import require_within
from motion_contracts import POSE
from motion_rig import LIMITS
from nodes_for_tests import chunk_of
from policies_for_tests import parameters
from rclpy.context import Context
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from world_rig import MS_NS, PERIOD_S, Clock, World, still_node

from gr00t_policy_core import rotation
from gr00t_policy_core.control.measured_state import MOVED
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.control.intervention import TeleopDevice
from gr00t_ros.msg import ActionChunk

MIXED = {
    **POSE,
    "action__arm__teleop_topic": "leader_pose",
    "action__gripper__teleop_topic": "leader_gripper",
    "action__base__type": "twist",
    "action__base__topic": "cmd_vel",
    "action__base__teleop_topic": "joy_twist",
    "action__wheels__type": "float64_multi_array",
    "action__wheels__topic": "wheels",
    "action__wheels__joints": ["left", "right"],
    "action__wheels__when_holding": "zero",
    "action__wheels__teleop_topic": "joy_wheels",
}
# The defaults of what is commanded by poses and twists.
LINEAR_VELOCITY, LINEAR_ACCELERATION = 1.0, 5.0
ANGULAR_VELOCITY, ANGULAR_ACCELERATION = 3.0, 15.0
# What a policy, an operator and a robot do most of the time, and what befalls them.
USUAL = [*["tick"] * 3, *["chunk"] * 5, "teleop", "intervene", "hand_back", "live"]
UNUSUAL = ["shadow", "policy stops", "stall", "clock", "push", "joints", "stop", "reactivate"]
UNUSUAL_SHARE = 0.15
FOLLOWED_BY = {"shadow": "live", "stop": "start", "joints": "joints", "intervene": "teleop"}
FOLLOWED_SHARE = 0.6


def turned(quaternion: np.ndarray, by: np.ndarray) -> np.ndarray:
    """A quaternion (x, y, z, w) after a turn in its own frame, a rotation vector in rad."""
    return rotation.quaternion_product(quaternion, rotation.quaternion_from_rotvec(by))


def fill_pose(message: Any, pose: np.ndarray) -> None:
    position, orientation = message.position, message.orientation
    position.x, position.y, position.z = map(float, pose[:3])
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, pose[3:])


class MixedWorld(World):
    """An arm, a gripper, a base and wheels, with a teleoperation device for each."""

    keys = ("arm", "gripper", "base", "wheels")

    def __init__(self, node: ControlNode, clock: Clock, *, follows: bool) -> None:
        super().__init__(node, clock, follows=follows)
        self.doings |= {
            "push": self.push,
            "teleop": self.steer,
            "intervene": lambda _: self.intervene(drives=True),
            "hand_back": lambda _: self.intervene(drives=False),
            "shadow": lambda _: node._on_go_shadow(Trigger.Request(), Trigger.Response()),
            "live": self.go_live,
        }

    def standing(self) -> dict[str, np.ndarray]:
        return {
            "arm": np.array([0.3, 0.1, 0.2, 0.0, 0.0, 0.0, 1.0]),
            "gripper": np.zeros(1),
            "base": np.zeros(6),
            "wheels": np.zeros(2),
        }

    def measure(self) -> None:
        inputs, robot, stamp = self.node._inputs, self.node._motion.robot, self.clock.now().to_msg()
        joints = JointState(name=["finger"], position=self.places["gripper"].tolist())
        joints.header.stamp = stamp
        for topic, interfaces in robot.joints.interfaces.items():
            inputs.on_joints(topic, interfaces, joints)
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamp, "base"
        fill_pose(pose.pose, self.places["arm"])
        for key, stream in robot.poses.streams.items():
            inputs.on_pose(key, stream, pose)

    def path(self, value: int) -> dict[str, np.ndarray]:
        """The path that a number stands for, float64 (n, D) by action key."""
        rng = np.random.default_rng(value)
        n, away = int(rng.integers(1, 40)), float(value % 4 == 0)

        def walk(start: np.ndarray, step: float) -> np.ndarray:
            return start + np.cumsum(rng.normal(0.0, step, (n, len(start))), axis=0)

        position = walk(self.places["arm"][:3] + away * rng.normal(0.0, 0.1, 3), 0.03)
        quaternions = [turned(self.places["arm"][3:], away * rng.normal(0.0, 0.2, 3))]
        for _ in range(n - 1):
            quaternions.append(turned(quaternions[-1], rng.normal(0.0, 0.1, 3)))
        return {
            "arm": np.hstack([position, quaternions]),
            "gripper": walk(self.places["gripper"] + away * rng.normal(0.0, 0.3, 1), 0.1),
            "base": walk(rng.normal(0.0, 0.6, 6), 0.2),
            "wheels": walk(rng.normal(0.0, 2.0, 2), 0.5),
        }

    def chunk(self, value: int) -> ActionChunk:
        path = self.path(value)
        if value % 17 == 0:
            rows = path[self.keys[value % 4]]
            rows[len(rows) // 2, 0] = [1e9, np.nan, -1e300][value % 3]
        # Of the present mostly, too old or from the future now and then.
        age_ms = value % 300 if value % 9 else value % 700 - 50
        t0_ns = self.clock.now_ns - age_ms * MS_NS
        return chunk_of(path, t0_ns=t0_ns, dt_s=0.05, chunk_id=self.number)

    def push(self, value: int) -> None:
        key, index = ("gripper", 0) if value % 2 else ("arm", value % 3)
        self.places[key][index] += (value % 401 - 200) / 300

    def steer(self, value: int) -> None:
        """A person moves their devices, or some of them, for a while."""
        for moment in range(value, value + value % 7):
            path = self.path(moment)
            for device in self.node._supervision.devices:
                if (moment >> self.keys.index(device.keys[0])) % 3:
                    message = self.command(device, path, moment)
                    self.node._supervision.steer(device, message, self.clock.now_ns)
            self.tick(value % 5)

    def command(self, device: TeleopDevice, path: dict[str, np.ndarray], value: int) -> Any:
        row = path[device.keys[0]][0] * (np.nan if value % 19 == 0 else 1.0)
        if device.keys == ["arm"]:
            pose = PoseStamped()
            pose.header.frame_id = "base"
            fill_pose(pose.pose, row)
            return pose
        if device.keys == ["gripper"]:
            point = JointTrajectoryPoint(positions=row.tolist())
            return JointTrajectory(joint_names=["finger"], points=[point])
        if device.keys == ["wheels"]:
            return Float64MultiArray(data=row.tolist())
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.linear.z = map(float, row[:3])
        twist.angular.x, twist.angular.y, twist.angular.z = map(float, row[3:])
        return twist

    def intervene(self, *, drives: bool) -> None:
        self.node._on_intervene(SetBool.Request(data=drives), SetBool.Response())

    def go_live(self, _: int) -> None:
        self.node._operator.update()  # into the shadow that was asked for
        self.node._on_go_live(Trigger.Request(), Trigger.Response())


def make_up(rng: np.random.Generator) -> list[tuple[str, int]]:
    """What befalls a robot."""
    actions = []
    for _ in range(int(rng.integers(20, 70))):
        what = str(rng.choice(UNUSUAL if rng.random() < UNUSUAL_SHARE else USUAL))
        actions.append(what)
        if what in FOLLOWED_BY and rng.random() < FOLLOWED_SHARE:
            actions.append(FOLLOWED_BY[what])
    return [(what, int(rng.integers(5000))) for what in actions]


def require_velocities(rows: np.ndarray, *, largest: float, change: float) -> None:
    """Vectors (n, D), the first from rest, that keep their magnitude and its change in a second."""
    assert np.isfinite(rows).all()
    assert np.linalg.norm(rows, axis=1).max() <= largest * (1.0 + 1e-6)
    steps = np.linalg.norm(np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]))), axis=1)
    assert steps.max() <= change * PERIOD_S * (1.0 + 1e-6) + 1e-9


def require_pose(rows: np.ndarray) -> None:
    """Poses (n, 7) that keep the velocities, and the acceleration on their way."""
    assert np.isfinite(rows).all()
    way = np.diff(rows[:, :3], axis=0)
    assert np.linalg.norm(way, axis=1).max(initial=0.0) <= LINEAR_VELOCITY * PERIOD_S + 1e-9
    change = np.linalg.norm(np.diff(way, axis=0), axis=1).max(initial=0.0)
    assert change <= LINEAR_ACCELERATION * PERIOD_S**2 * (1.0 + 1e-6) + 1e-9
    turns = turns_between(rows[:-1, 3:], rows[1:, 3:])
    assert turns.max(initial=0.0) <= ANGULAR_VELOCITY * PERIOD_S + 1e-7


def turns_between(quaternions: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The angles, rad (n,), from orientations (n, 4) to others; none where there are no values."""
    if not quaternions.shape[1]:
        return np.zeros(0)
    back = quaternions * [-1.0, -1.0, -1.0, 1.0]
    between = rotation.quaternion_product(back, others)
    return np.linalg.norm(rotation.rotvec_from_quaternion(between), axis=1)


def require_begun_where_it_was(world: MixedWorld) -> None:
    """A robot that follows its commands begins where it stands, as far as the node knows that."""
    for key in ("arm", "gripper"):
        begun = zip(world.rows(key), world.begun_at[key], world.was_measured[key], strict=True)
        for rows, place, is_known in begun:
            if world.follows and is_known:
                np.testing.assert_allclose(rows[0][:3], place[:3], rtol=0.0, atol=MOVED)
                assert turns_between(place[None, 3:], rows[:1, 3:]).max(initial=0.0) <= MOVED


@pytest.mark.parametrize("seed", range(16))
def test_no_command_of_any_kind_differs_by_more_than_the_limits_allow(
    ros_context: Context, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    is_sync = bool(rng.integers(2))
    values = parameters(
        require_subscribers=False,
        on_starvation=str(rng.choice(["hold", "stop_publishing"])),
        out_of_range=str(rng.choice(["refuse", "return"])),
        blend=str(rng.choice(["offset_fade", "replace", "ensemble"])),
        inference="sync" if is_sync else "async",
        replan_interval_s=None if is_sync else 0.2,
        max_jump=0.5,
        **MIXED,
    )
    clock = Clock()
    node = still_node(ros_context, clock, monkeypatch, values)
    world = MixedWorld(node, clock, follows=bool(rng.random() < 0.8))
    with world.running():
        for what, value in make_up(rng):
            world.do(what, value)
        world.do("stop", 0)
        world.tick(400)  # as long as it takes to come to rest
    assert node.has_failed is False
    require_begun_where_it_was(world)
    for rows in world.rows("arm"):
        require_pose(rows)
    for rows in world.rows("gripper"):
        require_within(rows[:, 0], period_s=PERIOD_S, **LIMITS)
    for rows in world.rows("base"):
        require_velocities(rows[:, :3], largest=LINEAR_VELOCITY, change=LINEAR_ACCELERATION)
        require_velocities(rows[:, 3:], largest=ANGULAR_VELOCITY, change=ANGULAR_ACCELERATION)
        assert not rows[-1].any()
    for rows in world.rows("wheels"):
        for wheel in range(2):
            column = rows[:, wheel : wheel + 1]
            require_velocities(column, largest=3.0, change=25.0)
        assert not rows[-1].any()
