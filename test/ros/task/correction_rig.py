# SPDX-License-Identifier: Apache-2.0
"""A scripted person beside the simulated arm, who corrects a grasp with a leader arm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from helpers import wait_until
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from nodes_for_tests import Operator
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from task_rig import SLOW_S
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from bench.scripted_person import RATE_HZ, ScriptedPerson, wants_to_take_over
from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm, is_in_bin


class Correction:
    """What a person does who watches the arm: looks, takes over, drives, and lets go."""

    def __init__(self, peer: Node) -> None:
        self._peer = peer
        self._arm = SimulatedArm()  # for its lengths, and where the bin is
        self._control = Operator(peer, "control_node")
        self._policy = Operator(peer, "policy_node")
        self._joints: dict[str, float] = {}
        self._cubes: list[Any] = []
        self._person: ScriptedPerson | None = None
        self._began_s = 0.0
        self._instruction = peer.create_publisher(String, "policy_node/instruction", 1)
        self._leader = peer.create_publisher(JointTrajectory, "leader", 10)
        peer.create_subscription(JointState, "joint_states", self._on_joints, 10)
        peer.create_subscription(PoseArray, "sim_node/cubes", self._on_cubes, 10)
        peer.create_timer(1.0 / RATE_HZ, self._lead)

    def begin(self, instruction: str) -> None:
        """Have the policy do something, in a scene where nothing was done yet."""
        reset = self._peer.create_client(Trigger, "sim_node/reset")
        wait_until(reset.service_is_ready, SLOW_S, "sim_node/reset")
        done = reset.call_async(Trigger.Request())
        wait_until(done.done, SLOW_S, "the scene as it was")
        wait_until(self._instruction.get_subscription_count, SLOW_S, "the policy node")
        wait_until(self._leader.get_subscription_count, SLOW_S, "the control node")
        self.instruct(instruction)
        assert self._policy.trigger("start").success

    def instruct(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def take_over_half_way_down(self, colour: str) -> None:
        """Take over when the hand is half-way down to a cube, to grasp another one."""
        wait_until(self._is_half_way_down, SLOW_S, "the hand goes down to a cube")
        cube, yaw_rad = self._cube(colour)
        self._began_s = time.monotonic()
        self._person = ScriptedPerson(
            self._arm.geometry,
            [self._joints[name] for name in JOINT_NAMES],
            cube_position=cube,
            cube_yaw_rad=yaw_rad,
            bin_position=self._arm.bin_position,
        )
        self._intervene(True)

    def drive_to_the_end(self) -> None:
        """Drive until the cube is lifted."""
        person = self._person
        assert person is not None
        wait_until(
            lambda: time.monotonic() - self._began_s > person.duration_s, SLOW_S, "it is lifted"
        )

    def let_go(self) -> None:
        self._intervene(False)
        self._person = None

    def wait_until_in_bin(self, colour: str) -> None:
        bin_position = self._arm.bin_position.tolist()
        wait_until(
            lambda: is_in_bin(self._cube(colour)[0], bin_position), 2 * SLOW_S, "it is in the bin"
        )

    def end(self) -> None:
        """Stop the policy, and wait until the robot is at rest."""
        assert self._policy.trigger("stop").success
        self._control.wait_for_status(lambda s: s.at_rest, "rest", SLOW_S)

    def _is_half_way_down(self) -> bool:
        joints = [self._joints.get(name, np.nan) for name in JOINT_NAMES]
        return wants_to_take_over(self._arm.geometry, joints)

    def _intervene(self, wanted: bool) -> None:
        response = self._control.call("intervene", SetBool, SetBool.Request(data=wanted))
        assert response.success, response.message

    def _on_joints(self, message: JointState) -> None:
        self._joints = dict(zip(message.name, message.position, strict=True))

    def _on_cubes(self, message: PoseArray) -> None:
        self._cubes = list(message.poses)

    def _cube(self, colour: str) -> tuple[list[float], float]:
        """Where a cube is, m, and its turn about the vertical, rad."""
        pose = self._cubes[CUBE_NAMES.index(colour)]
        position, q = pose.position, pose.orientation
        yaw_rad = np.arctan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y**2 + q.z**2))
        return [position.x, position.y, position.z], float(yaw_rad)

    def _lead(self) -> None:
        person = self._person
        if person is not None:
            joints = person.joints_at(time.monotonic() - self._began_s)
            point = JointTrajectoryPoint(positions=joints.tolist())
            self._leader.publish(JointTrajectory(joint_names=list(JOINT_NAMES), points=[point]))


def recorded(bag: Path, topic: str) -> Iterator[tuple[int, int, Any]]:
    """When each message of a topic was received, ns, its publication number, and the message."""
    (path,) = bag.glob("*.mcap")
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, _, record, message in reader.iter_decoded_messages(topics=[topic]):
            yield record.log_time, record.sequence, message


def command_runs(bag: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The commands of a recording, divided where one was lost: when, ns, and where, (ticks, 7)."""
    commands = list(recorded(bag, "/arm/joint_trajectory"))
    numbers = np.array([number for _, number, _ in commands])
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    times = np.array([time_ns for time_ns, _, _ in commands])
    rows = []
    for _, _, message in commands:
        by_name = dict(zip(message.joint_names, message.points[0].positions, strict=True))
        rows.append([by_name[name] for name in JOINT_NAMES])
    return list(zip(np.split(times, cuts), np.split(np.array(rows), cuts), strict=True))
