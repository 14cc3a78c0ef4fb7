# SPDX-License-Identifier: Apache-2.0
"""Control nodes and their peers; closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from control_ramps import MakeNode, now_ns
from helpers import wait_until
from motion_rig import Rig
from nodes_for_tests import (
    Operator,
    SimulatedTime,
    overrides,
)
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control_node import ControlNode
from gr00t_ros.msg import ActionChunk


@pytest.fixture
def make_node(ros_context: Context, spin: Callable[[Node], Node]) -> Iterator[MakeNode]:
    nodes: list[ControlNode] = []

    def make(**changes: Any) -> ControlNode:
        node = ControlNode(
            context=ros_context, parameter_overrides=overrides(parameters(**changes))
        )
        nodes.append(node)
        spin(node)
        return node

    yield make
    while nodes:
        node = nodes.pop()
        node.executor.create_task(node.close)
        wait_until(lambda n=node: not n._is_active, what="the node is closed")


@pytest.fixture
def operator(ros_node: Node) -> Operator:
    return Operator(ros_node, "control_node")


@pytest.fixture
def chunks(ros_node: Node) -> Publisher:
    return ros_node.create_publisher(ActionChunk, "action_chunk", 5)


@pytest.fixture
def commands(ros_node: Node) -> list[tuple[int, JointTrajectory]]:
    """Each command on the topic `commands` with the time it came in, ns."""
    received: list[tuple[int, JointTrajectory]] = []
    ros_node.create_subscription(
        JointTrajectory, "commands", lambda m: received.append((now_ns(ros_node), m)), 100
    )
    return received


@pytest.fixture
def rig(ros_context: Context, spin: Callable[[Node], Node], ros_node: Node) -> Iterator[Rig]:
    rig = Rig(ros_context, spin, ros_node)
    yield rig
    node, rig.node = rig.node, None  # it is to be collected, and pytest keeps the rig
    if node is not None and node.executor is not None:
        node.executor.create_task(node.close)
        wait_until(lambda: not node._is_active, what="the node is closed")


@pytest.fixture
def sim_time(ros_node: Node) -> SimulatedTime:
    return SimulatedTime(ros_node)
