# SPDX-License-Identifier: Apache-2.0
"""Control nodes and their peers; closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from action_servers import Serve, Server
from control_ramps import FollowingArm, MakeNode, activate, now_ns
from motion_rig import Rig
from nodes_for_tests import (
    Operator,
    SimulatedTime,
    overrides,
    patience,
)
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import ManagedNode


@pytest.fixture
def make_node(ros_context: Context, live: Callable[[ManagedNode], None]) -> MakeNode:

    def make(**changes: Any) -> ControlNode:
        node = ControlNode(
            context=ros_context, parameter_overrides=overrides(parameters(**changes))
        )
        live(node)
        return node

    return make


@pytest.fixture
def ros_node(ros_context: Context, spin_apart: Callable[[Node], Node]) -> Node:
    """A peer that a transition of the control node does not keep waiting: the robot moves on."""
    return spin_apart(Node("test_peer", context=ros_context))


@pytest.fixture
def operator(ros_node: Node) -> Operator:
    return Operator(ros_node, "control_node")


@pytest.fixture
def chunks(ros_node: Node) -> Publisher:
    return ros_node.create_publisher(ActionChunk, "action_chunk", 5)


@pytest.fixture
def activate_node(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> MakeNode:
    """Makes control nodes that are active, hear `chunks` and have an arm that follows.

    It stands where ramps begin, or at `stands_at` (shoulder, elbow, finger).
    """

    def make(*, stands_at: tuple[float, ...] = (0.0, 100.0, 200.0), **changes: Any) -> ControlNode:
        changes = patience(changes)
        interface = changes.get("action__gripper__type", "joint_trajectory")
        arm = FollowingArm(ros_node, interface, stands_at)
        node = make_node(**changes)
        activate(operator, chunks, node)
        node.arm = arm
        return node

    return make


@pytest.fixture
def activate_in_sim_time(activate_node: MakeNode, sim_time: SimulatedTime) -> MakeNode:
    """Makes control nodes that are active, and know the time of `sim_time`."""

    def make(**changes: Any) -> ControlNode:
        node = activate_node(use_sim_time=True, **changes)
        clock = node.get_clock()
        start_ns = sim_time.ns()
        sim_time.run(lambda: clock.now().nanoseconds >= start_ns, "the node has the time")
        known = node._motion.robot.joints._known
        sim_time.run(
            lambda: all(stamp_ns >= start_ns for _, stamp_ns in known.values()), "joints of it"
        )
        return node

    return make


@pytest.fixture
def commands(ros_node: Node) -> list[tuple[int, JointTrajectory]]:
    """Each command on the topic `commands` with the time it came in, ns."""
    received: list[tuple[int, JointTrajectory]] = []
    ros_node.create_subscription(
        JointTrajectory, "commands", lambda m: received.append((now_ns(ros_node), m)), 100
    )
    return received


@pytest.fixture
def rig(ros_context: Context, live: Callable[[ManagedNode], None], ros_node: Node) -> Iterator[Rig]:
    rig = Rig(ros_context, live, ros_node)
    with rig.tapped():
        yield rig
    rig.node = None  # it is to be collected, and pytest keeps the rig


@pytest.fixture
def sim_time(ros_node: Node) -> SimulatedTime:
    return SimulatedTime(ros_node)


@pytest.fixture
def serve(ros_context: Context) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(action_type: Any, name: str = "gripper/gripper_cmd", **options: Any) -> Server:
        servers.append(Server(ros_context, action_type, name, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
