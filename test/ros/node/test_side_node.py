# SPDX-License-Identifier: Apache-2.0
"""A node beside another one, with a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import rclpy.action.client
from helpers import wait_until
from rclpy.action import ActionClient
from rclpy.node import Node

from gr00t_ros.action import RunPolicy
from gr00t_ros.node.side_node import SideNode


@pytest.fixture
def side_node(ros_node: Node) -> Iterator[SideNode]:
    node = SideNode(ros_node, "actions")
    yield node
    node.destroy_node()


def spins(node: SideNode) -> bool:
    called: list[bool] = []
    node.create_timer(0.001, lambda: called.append(True))
    wait_until(lambda: called, what="its thread calls a timer")
    return True


def test_an_action_client_that_is_made_slowly_does_not_end_the_thread(
    side_node: SideNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rclpy of Kilted adds a client to its node first, and then gives it its lock."""

    def slow_lock() -> threading.Lock:
        threading.Event().wait(0.2)  # a busy machine
        return threading.Lock()

    monkeypatch.setattr(rclpy.action.client, "threading", SimpleNamespace(Lock=slow_lock))
    client = side_node.call(lambda: ActionClient(side_node, RunPolicy, "run"))
    assert spins(side_node)
    client.destroy()


def test_an_error_of_a_call_is_the_callers(side_node: SideNode) -> None:
    with pytest.raises(ZeroDivisionError):
        side_node.call(lambda: 1 // 0)
    assert spins(side_node)


def test_a_call_in_a_thread_that_has_ended_is_an_error(
    ros_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gr00t_ros.node.side_node.CALL_S", 0.05)
    node = SideNode(ros_node, "ended")
    node.destroy_node()
    with pytest.raises(TimeoutError, match="the node's thread is busy or has ended"):
        node.call(lambda: None)
