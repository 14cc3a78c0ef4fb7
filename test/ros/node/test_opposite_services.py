# SPDX-License-Identifier: Apache-2.0
"""Starts and stops that wait together, since a node hung while they were called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import wait_until
from nodes_for_tests import overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.node.lifecycle import ManagedNode, bring_up
from gr00t_ros.policy.policy_node import PolicyNode

Call = Callable[..., list[Trigger.Response]]


@pytest.fixture
def call(ros_context: Context, ros_node: Node) -> Iterator[Call]:
    """Calls services of a node while it hangs; their answers once it goes on."""
    executor = SingleThreadedExecutor(context=ros_context)
    nodes: list[ManagedNode] = []

    def to_call(node: ManagedNode, *names: str) -> list[Trigger.Response]:
        nodes.append(node)
        clients = {n: ros_node.create_client(Trigger, f"{node.get_name()}/{n}") for n in set(names)}
        for client in clients.values():
            wait_until(client.service_is_ready, what=client.srv_name)
        futures: list[Any] = [clients[name].call_async(Trigger.Request()) for name in names]
        wait_for_arrival(ros_node)
        executor.add_node(node)

        def are_answered() -> bool:
            executor.spin_once(timeout_sec=0.1)
            return all(future.done() for future in futures)

        wait_until(are_answered, what="the answers")
        return [future.result() for future in futures]

    yield to_call
    executor.shutdown()
    for node in nodes:
        node.close()
        node.destroy_node()
        node._state_machine.destroy_when_not_in_use()  # `destroy_node` leaves it in the graph


def wait_for_arrival(ros_node: Node) -> None:
    """Return when the requests that were sent so far have surely arrived at another node."""
    ticks: list[None] = []
    timer = ros_node.create_timer(0.5, lambda: ticks.append(None))
    wait_until(lambda: ticks, what="half a second")
    ros_node.destroy_timer(timer)


@pytest.fixture
def control(ros_context: Context) -> ControlNode:
    node = ControlNode(context=ros_context, parameter_overrides=overrides(parameters()))
    assert bring_up(node)
    return node


@pytest.fixture
def policy(ros_context: Context) -> PolicyNode:
    node = PolicyNode(
        policy_factory=lambda _: EchoPolicy(),
        context=ros_context,
        parameter_overrides=overrides(parameters()),
    )
    assert bring_up(node)
    return node


@pytest.mark.parametrize("pressed", [("start", "stop"), ("start", "start", "stop")])
def test_a_control_node_that_hung_does_not_start_after_a_stop(
    call: Call, control: ControlNode, pressed: tuple[str, ...]
) -> None:
    *started, stopped = call(control, *pressed)
    assert stopped.success
    assert control._gate.reason(0).startswith("stopped by ~/stop")
    assert {(answer.success, answer.message) for answer in started} == {
        (False, "not carried out: ~/stop was called at the same time")
    }


def test_a_control_node_that_hung_does_not_go_live_after_a_shadow(
    call: Call, control: ControlNode
) -> None:
    live, shadow = call(control, "go_live", "go_shadow")
    assert shadow.success
    assert not live.success
    assert control._motion is not None
    assert control._motion.is_shadow


@pytest.mark.parametrize("pressed", [("start", "stop"), ("start", "start", "stop")])
def test_a_policy_node_that_hung_does_not_start_after_a_stop(
    call: Call, policy: PolicyNode, pressed: tuple[str, ...]
) -> None:
    *started, stopped = call(policy, *pressed)
    assert stopped.success
    assert policy._worker is not None
    assert not policy._worker.started
    assert not any(answer.success for answer in started)


def test_a_start_that_was_called_alone_is_carried_out(call: Call, control: ControlNode) -> None:
    control._gate.stop("by a test")
    (answer,) = call(control, "start")
    assert "by a test" not in answer.message
    assert not control._gate._stopped
