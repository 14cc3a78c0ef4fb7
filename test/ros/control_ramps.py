# SPDX-License-Identifier: Apache-2.0
"""Chunks that climb by RATE a second: a commanded value tells the instant that it belongs to.

That is ``t0 + value / RATE``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from helpers import wait_until
from nodes_for_tests import (
    ACTIVATE,
    CONFIGURE,
    Operator,
    chunk_of,
)
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ActionChunk

DT_S = 0.05
RATE = 1.0  # value per second
CONTROL_PERIOD_S = 0.01

MakeNode = Callable[..., ControlNode]


def now_ns(node: Node) -> int:
    return int(node.get_clock().now().nanoseconds)


def ramp(
    t0_ns: int, *, start: float = 0.0, horizon: int = 20, chunk_id: int = 1, **changes: np.ndarray
) -> ActionChunk:
    climb = start + RATE * DT_S * np.arange(horizon)[:, None]
    values = {"arm": np.hstack([climb, climb + 100.0]), "gripper": climb + 200.0, **changes}
    return chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=chunk_id)


class FollowingArm:
    """A robot that stands where ramps begin and does what it is told, and says where it is.

    Args:
        peer: Owns its topics.
        interface: What the commands are: joint_trajectory or joint_state.
        joints: Where it stands: shoulder, elbow, finger.
    """

    def __init__(
        self,
        peer: Node,
        interface: str = "joint_trajectory",
        joints: Sequence[float] = (0.0, 100.0, 200.0),
    ) -> None:
        self._peer = peer
        self.joints = list(joints)
        kind = JointState if interface == "joint_state" else JointTrajectory
        self._commands = peer.create_subscription(kind, "commands", self._follow, 100)
        self._states = peer.create_publisher(JointState, "joint_states", 10)
        self._timer = peer.create_timer(0.02, self._publish)

    def _follow(self, command: JointTrajectory | JointState) -> None:
        is_state = isinstance(command, JointState)
        positions = command.position if is_state else command.points[0].positions
        if len(positions) == len(self.joints):
            self.joints = list(positions)

    def _publish(self) -> None:
        message = JointState(name=["shoulder", "elbow", "finger"], position=self.joints)
        self._states.publish(message)


def activate(operator: Operator, chunks: Publisher, node: ControlNode) -> None:
    """Configure and activate a node, and wait until it hears chunks and knows its joints."""
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(chunks.get_subscription_count, what="the node listens to chunks")
    joints = node._motion.robot.joints
    if joints.interfaces:
        wait_until(lambda: set(joints._known) == joints.names, what="it knows its joints")


def first(command: JointTrajectory) -> float:
    return float(command.points[0].positions[0])
