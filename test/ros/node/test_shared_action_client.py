# SPDX-License-Identifier: Apache-2.0
"""A goal that one thread sends while another one spins the node."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy.action.client
from action_servers import Server
from helpers import call_in_its_thread, wait_until
from rclpy.context import Context
from rclpy.node import Node

from gr00t_ros.action import RunPolicy
from gr00t_ros.node.shared_action_client import SharedActionClient

ANSWERED_S = 0.3  # more than an answer takes


@pytest.fixture
def server(ros_context: Context) -> Iterator[Server]:
    server = Server(ros_context, RunPolicy, "run")
    yield server
    server.close()


def is_answered(node: Node, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a client hears that a goal is accepted, if it is slow to note that it was sent."""
    client = call_in_its_thread(node, lambda: SharedActionClient(node, RunPolicy, "run"))
    wait_until(client.server_is_ready, what="the server")
    real = rclpy.action.client.Future

    def slow_future(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            threading.Event().wait(ANSWERED_S)  # a busy machine
        return real(*arguments, **options)

    with monkeypatch.context() as patching:
        patching.setattr(rclpy.action.client, "Future", slow_future)
        answer = client.send_goal_async(RunPolicy.Goal())
    try:
        wait_until(answer.done, 2.0, "an answer")
    except AssertionError:
        return False
    finally:
        call_in_its_thread(node, client.destroy)
    return bool(answer.result().accepted)


def test_no_answer_is_lost_that_comes_while_the_goal_is_noted(
    ros_node: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert is_answered(ros_node, monkeypatch)
    assert len(server.goals) == 3
