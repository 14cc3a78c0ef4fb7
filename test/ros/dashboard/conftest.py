# SPDX-License-Identifier: Apache-2.0
"""A dashboard that serves on a free port, beside a real policy node and a robot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from dashboard_rig import DashboardRig, MovingCamera
from helpers import wait_until
from nodes_for_tests import Operator, Robot, overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.node.lifecycle import ManagedNode, bring_up
from gr00t_ros.policy.policy_node import PolicyNode

pytest.importorskip("fastapi", reason="pip install fastapi uvicorn websockets")
pytest.importorskip("uvicorn", reason="pip install fastapi uvicorn websockets")


@pytest.fixture
def rig(
    ros_context: Context, ros_node: Node, live: Callable[[ManagedNode], None]
) -> Iterator[DashboardRig]:
    from gr00t_ros.dashboard.dashboard_server import DashboardServer

    policy = EchoPolicy()
    node = PolicyNode(
        policy_factory=lambda settings: policy,
        context=ros_context,
        parameter_overrides=overrides(parameters(max_age_s=5.0)),
    )
    assert bring_up(node)
    live(node)
    server = DashboardServer(
        parse_contract(parameters()), host="127.0.0.1", port=0, token="a-token-of-tests_1"
    )
    thread = threading.Thread(target=server.run, name="dashboard", daemon=True)
    thread.start()
    link = server._link
    wait_until(link._clients["start_policy"].service_is_ready, what="the policy node is known")
    wait_until(link._instruction.get_subscription_count, what="the instruction is read")
    yield DashboardRig(
        server=server,
        policy=policy,
        operator=Operator(ros_node, "policy_node"),
        robot=Robot(ros_node, camera=False),
        camera=MovingCamera(ros_node),
    )
    server.stop()
    wait_until(lambda: not thread.is_alive(), what="the dashboard ends")
