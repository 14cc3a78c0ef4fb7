# SPDX-License-Identifier: Apache-2.0
"""A task node whose goals are accepted and end when the test says so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from task_rig import SLOW_S

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskResult

FEEDBACK_S = 0.1


class _LosesAnswers:
    """The middleware's side of an action server, whose answers to goals get lost."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def send_goal_response(self, header: Any, response: Any) -> None:
        """Send nothing."""


class SlowTaskNode:
    """Serves the action of the task node."""

    def __init__(self, node: Node) -> None:
        self.may_accept = threading.Event()
        self.may_accept.set()
        self.is_asked = threading.Event()
        self.is_running = threading.Event()
        self.is_silent = threading.Event()
        self.is_cancelled = threading.Event()
        self.is_at_rest = threading.Event()
        self.server = ActionServer(
            node,
            RunPolicy,
            "task_node/run_policy",
            self._execute,
            goal_callback=self._accept,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def lose_answers(self) -> None:
        """Let nobody know that a goal is accepted."""
        self.server._handle = _LosesAnswers(self.server._handle)

    def _accept(self, _: RunPolicy.Goal) -> GoalResponse:
        self.is_asked.set()
        self.may_accept.wait(SLOW_S)
        return GoalResponse.ACCEPT

    def _execute(self, handle: ServerGoalHandle) -> RunPolicy.Result:
        self.is_running.set()
        feedback = RunPolicy.Feedback(state=RunPolicy.Feedback.STATE_RUNNING, subtask_count=1)
        ends_s = time.monotonic() + 2 * SLOW_S
        while not self.is_at_rest.is_set() and time.monotonic() < ends_s:
            if not self.is_silent.is_set():
                handle.publish_feedback(feedback)
            if handle.is_cancel_requested:
                self.is_cancelled.set()
            self.is_at_rest.wait(FEEDBACK_S)
        handle.canceled() if handle.is_cancel_requested else handle.abort()
        task = TaskResult(termination=TaskResult.TERMINATION_CANCELLED, reason="by a test")
        return RunPolicy.Result(task=task)


@contextlib.contextmanager
def slow_task_node() -> Iterator[SlowTaskNode]:
    """Serves in threads of its own."""
    context = Context()
    rclpy.init(context=context)
    node = Node("slow_task_node", context=context)
    executor = MultiThreadedExecutor(4, context=context)
    executor.add_node(node)
    served = SlowTaskNode(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield served
    finally:
        served.may_accept.set()
        served.is_at_rest.set()
        executor.shutdown()
        thread.join()
        served.server.destroy()
        node.destroy_node()
        context.try_shutdown()
