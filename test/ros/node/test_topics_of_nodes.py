# SPDX-License-Identifier: Apache-2.0
"""Both nodes compare topics as ROS resolves them: in their namespace, and after remapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, Operator, Robot, chunk_of, overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy.policy_node import PolicyNode

MakeNode = Callable[..., ManagedNode]


def make_policy_node(**arguments: Any) -> PolicyNode:
    return PolicyNode(policy_factory=lambda settings: EchoPolicy(), **arguments)


@pytest.fixture(params=[ControlNode, make_policy_node], ids=["control_node", "policy_node"])
def make_node(
    request: pytest.FixtureRequest, ros_context: Context, live: Callable[[ManagedNode], None]
) -> MakeNode:
    """Makes one of the two nodes in the namespace `left`, with remapping rules."""

    def make(*rules: str, **changes: Any) -> ManagedNode:
        remapping = [argument for rule in rules for argument in ("-r", rule)]
        node: ManagedNode = request.param(
            context=ros_context,
            namespace="left",
            cli_args=["--ros-args", *remapping],
            parameter_overrides=overrides(parameters(**changes)),
        )
        live(node)
        return node

    return make


def test_a_command_that_is_remapped_onto_a_state_is_refused(
    make_node: MakeNode, ros_node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(
        "orders:=joint_states",
        action__arm__type="joint_state",
        action__arm__topic="orders",
        state__arm__topic="/left/joint_states",
    )
    operator = Operator(ros_node, f"left/{node.get_name()}")
    assert operator.change_state(CONFIGURE) == [False]
    problem = (
        "- action.arm: topic /left/joint_states is read by state.arm, state.gripper; commands need "
        "a topic of their own\n"
    )
    assert problem in capfd.readouterr().err


@pytest.mark.parametrize("topic", ["{robot}/commands", "{ns"])
def test_a_topic_that_ros_cannot_resolve_is_refused(
    make_node: MakeNode, ros_node: Node, capfd: pytest.CaptureFixture[str], topic: str
) -> None:
    node = make_node(action__arm__topic=topic)
    operator = Operator(ros_node, f"left/{node.get_name()}")
    assert operator.change_state(CONFIGURE) == [False]
    said = capfd.readouterr().err
    assert f"- action.arm: '{topic}' is not a valid topic name" in said
    assert "Traceback" not in said


def test_an_unmeasured_joint_is_refused_with_the_nearest_that_is_measured(
    make_node: MakeNode, ros_node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node(action__arm__joints=["shoulder", "elbwo"])
    operator = Operator(ros_node, f"left/{node.get_name()}")
    assert operator.change_state(CONFIGURE) == [False]
    assert "no state measures the position of elbwo;" in capfd.readouterr().err
    assert operator.set_parameters(action__arm__joints=["shoulder", "elbow"]) == [True]
    assert operator.change_state(CONFIGURE) == [True]


def test_keys_on_one_topic_under_two_names_go_out_as_one_message(
    ros_context: Context, live: Callable[[ManagedNode], None], ros_node: Node
) -> None:
    robot = parameters(
        action__gripper__topic="/left/commands",
        state__arm__topic="/joint_states",
        state__gripper__topic="/joint_states",
    )
    node = ControlNode(context=ros_context, namespace="left", parameter_overrides=overrides(robot))
    live(node)
    Robot(ros_node, camera=False)
    received: list[JointTrajectory] = []
    ros_node.create_subscription(JointTrajectory, "/left/commands", received.append, 100)
    chunks = ros_node.create_publisher(ActionChunk, "/left/action_chunk", 5)
    operator = Operator(ros_node, "left/control_node")
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(chunks.get_subscription_count, what="the node listens to chunks")
    assert ros_node.count_publishers("/left/commands") == 1
    values = {"arm": np.tile([0.1, -0.2], (9, 1)), "gripper": np.full((9, 1), 0.5)}

    def send() -> None:
        now_ns = ros_node.get_clock().now().nanoseconds
        chunks.publish(chunk_of(values, t0_ns=now_ns, dt_s=0.1))

    ros_node.create_timer(0.2, send)  # the first ones come before the joints are known
    wait_until(lambda: len(received) > 5, what="commands")
    assert all(list(m.joint_names) == ["shoulder", "elbow", "finger"] for m in received)
