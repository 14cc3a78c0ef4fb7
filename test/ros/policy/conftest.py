# SPDX-License-Identifier: Apache-2.0
"""The policy node and its peers, and inference workers; closed when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import wait_until
from nodes_for_tests import (
    Drive,
    MakeNode,
    Operator,
    Robot,
    overrides,
    robot_and_chunks,
)
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from worker_rig import Rig

from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy import inference_worker as inference
from gr00t_ros.policy.policy_backend import make_policy
from gr00t_ros.policy.policy_node import PolicyNode


@pytest.fixture
def policy() -> Iterator[EchoPolicy]:
    policy = EchoPolicy()
    yield policy
    policy.go.set()


@pytest.fixture
def start_node(ros_context: Context, live: Callable[[ManagedNode], None]) -> MakeNode:
    """Starts policy nodes: a policy factory, and changes to the parameters."""

    def start(policy_factory: Callable[[PolicySettings], BasePolicy], **changes: Any) -> PolicyNode:
        node = PolicyNode(
            policy_factory=policy_factory,
            context=ros_context,
            parameter_overrides=overrides(parameters(**changes)),
        )
        live(node)
        return node

    return start


@pytest.fixture
def make_node(start_node: MakeNode, policy: EchoPolicy) -> Iterator[MakeNode]:
    """Starts policy nodes that ask `policy`."""
    yield lambda **changes: start_node(lambda settings: policy, **changes)
    policy.go.set()


@pytest.fixture
def make_client_node(start_node: MakeNode) -> MakeNode:
    """Starts policy nodes that ask the server of their parameters."""
    return lambda **changes: start_node(make_policy, **{"policy__host": "127.0.0.1", **changes})


@pytest.fixture
def operator(ros_node: Node) -> Operator:
    return Operator(ros_node, "policy_node")


@pytest.fixture
def chunks(ros_node: Node) -> list[ActionChunk]:
    received: list[ActionChunk] = []
    ros_node.create_subscription(ActionChunk, "action_chunk", received.append, 10)
    return received


@pytest.fixture
def drive(
    make_node: MakeNode, operator: Operator, ros_node: Node, chunks: list[ActionChunk]
) -> Drive:
    """Starts a node with those changes to its parameters; the robot that it drives.

    A first chunk has come.
    """

    def start(*, stamped: bool = True, **changes: Any) -> Robot:
        make_node(**changes)
        return robot_and_chunks(ros_node, operator, chunks, stamped=stamped)

    return start


@pytest.fixture
def thinking_policy(
    make_node: MakeNode, operator: Operator, ros_node: Node, policy: EchoPolicy
) -> EchoPolicy:
    """The policy of a started node, which has been asked and thinks until its `go` is set."""
    make_node()
    policy.go.clear()
    Robot(ros_node)
    assert operator.trigger("start").success
    wait_until(lambda: policy.observations, what="the policy is asked")
    return policy


@pytest.fixture
def robot(ros_node: Node) -> Robot:
    return Robot(ros_node)


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(inference, "RETRY_S", 0.01)
    monkeypatch.setattr(inference, "POLL_S", 0.01)
    rigs: list[Rig] = []

    def make(**options: Any) -> Rig:
        rigs.append(Rig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.policy.go.set()
        assert rig.worker.close(10.0)


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()
