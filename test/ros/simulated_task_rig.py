# SPDX-License-Identifier: Apache-2.0
"""Tasks of the simulated arm, whose nodes and policy server are processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from helpers import wait_until
from leader_arm import TELEOP_TOPIC
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from task_rig import (
    SLOW_S,
    Processes,
    TaskPeer,
    expert_server,
    node_command,
    spinning_node,
)
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import ControlStatus, Ender
from gr00t_ros.sim.demo_processes import config

DONE = Ender(type="policy", settings="{key: done}")
IMMOBILE = (ControlStatus.STATE_ERROR, ControlStatus.STATE_STOPPED)  # until `~/start`
IMAGE_SIZE = (240, 320)  # height, width
MAX_AGE_S = 2.0  # of what the policy node infers from


def put(colour: str) -> str:
    return f"pick up the {colour} cube and put it into the bin"


def arm_command(image_size: tuple[int, int]) -> list[str]:
    """The command of a simulated arm with small images: four nodes share the CPUs with it.

    Args:
        image_size: Height and width.
    """
    height, width = image_size
    return node_command(
        "sim_node", config("demo.yaml"), image_rate_hz=10.0, image_width=width, image_height=height
    )


class Simulation:
    """The simulated arm with its nodes, and a peer."""

    def __init__(self, peer: TaskPeer, processes: Processes) -> None:
        self.peer = peer
        self.processes = processes
        self.commands: list[JointTrajectory] = []
        peer.node.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self.commands.append, 1000
        )
        self.measured: list[JointState] = []
        peer.node.create_subscription(
            JointState, "joint_states", self.measured.append, qos_profile_sensor_data
        )
        self._instruction = peer.node.create_publisher(String, "policy_node/instruction", 1)

    def begin(self, colour: str = "blue") -> Any:
        """A task whose robot plays chunks."""
        handle = self.peer.send(RunPolicy.Goal(instruction=put(colour), enders=[DONE]))
        self.peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
        return handle

    def start_arm_again(self) -> None:
        """Start the arm that was killed: it begins elsewhere, and the control node rejects that."""
        self.measured.clear()
        self.processes.start("sim_node")
        wait_until(lambda: self.measured, SLOW_S, "the arm is there again")
        wait_until(self._is_seen, SLOW_S, "the control node sees it, too")

        def is_allowed() -> bool:
            seen = len(self.peer.control_statuses)
            wait_until(
                lambda: len(self.peer.control_statuses) > seen + 1, SLOW_S, "statuses from now on"
            )
            if self.peer.control_statuses[-1].state not in IMMOBILE:
                return True
            self.peer.allow_motion()
            return False

        wait_until(is_allowed, SLOW_S, "the control node moves the arm again")

    def _is_seen(self) -> bool:
        """Whether the control node has the positions that the arm sends."""
        newest = self.measured[-1]
        sent = dict(zip(newest.name, newest.position, strict=True))
        joints = self.peer.control_statuses[-1].joints
        return all(abs(joint.feedback - sent[joint.name]) < 0.01 for joint in joints)

    def is_moving(self) -> bool:
        """Whether a joint has moved by some mrad within the last commands."""
        recent = [command.points[0].positions for command in self.commands[-10:]]
        return len(recent) == 10 and bool(np.ptp(recent, axis=0).max() > 0.005)

    def require_rest(self) -> None:
        """Fail where a command from now on moves the arm; on a busy machine they arrive late."""
        now_ns = self.peer.node.get_clock().now().nanoseconds

        def rests() -> bool:
            newest = [command.points[0].positions for command in self.commands[-5:]]
            return len(newest) == 5 and bool(np.ptp(newest, axis=0).max() == 0.0)

        wait_until(rests, SLOW_S, "the last commands")
        place = self.commands[-1].points[0].positions
        for command in list(self.commands):
            if Time.from_msg(command.header.stamp).nanoseconds > now_ns:
                assert command.points[0].positions == place

    def instruct(self, instruction: str) -> None:
        """Publish an instruction, as an operator may."""
        self._instruction.publish(String(data=instruction))


@contextlib.contextmanager
def simulated_robot(folder: Path, image_size: tuple[int, int] = IMAGE_SIZE) -> Iterator[Simulation]:
    """The simulated arm with its nodes, whose logs lie in a folder."""
    demo = config("demo.yaml")
    with expert_server(folder) as port, spinning_node("task_peer") as node:
        processes = Processes(
            {
                "sim_node": arm_command(image_size),
                "policy_node": node_command(
                    "policy_node", demo, policy__port=port, max_age_s=MAX_AGE_S
                ),
                "control_node": node_command(
                    "control_node",
                    demo,
                    autostart=True,
                    action__single_arm__teleop_topic=TELEOP_TOPIC,
                    teleop_timeout_s=5.0,
                ),
                "task_node": node_command("task_node", demo, preempt=True, stall_timeout_s=6.0),
            },
            folder,
        )
        try:
            processes.start("sim_node", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Simulation(peer, processes)
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails
