# SPDX-License-Identifier: Apache-2.0
"""Starts and cancels tasks for the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.node import Node
from rclpy.task import Future

from gr00t_ros.action import RunPolicy
from gr00t_ros.dashboard.answer import Answer, no_answer, not_there
from gr00t_ros.dashboard.ros_futures import result_of
from gr00t_ros.msg import TaskResult
from gr00t_ros.node.shared_action_client import SharedActionClient
from gr00t_ros.task.ender_goal import ender_message

TASK_NODE = "task_node"
ACTION = f"{TASK_NODE}/run_policy"
ANSWER_S = 10.0


class TaskLink:
    """A client of the task node. A task goes on when the page is closed.

    Args:
        node: Belongs to the ROS thread.
    """

    def __init__(self, node: Node) -> None:
        self._client = SharedActionClient(node, RunPolicy, ACTION)
        # Cancels every goal, also one that was started in a terminal.
        self._cancel = node.create_client(CancelGoal, f"{ACTION}/_action/cancel_goal")
        self._cancels = 0

    def close(self) -> None:
        """End the client, before its node: a node does not destroy it."""
        self._client.destroy()

    async def start(
        self, instruction: str, enders: Sequence[str], *, needs_all: bool, time_limit_s: float
    ) -> Answer:
        """Start a task.

        Args:
            instruction: What the policy is asked to do.
            enders: What ends it, each in one line of YAML; none: those of the node.
            needs_all: Whether all enders together end it, and not the first one.
            time_limit_s: Longest duration, s; 0: none.
        """
        if not self._client.server_is_ready():
            return not_there(TASK_NODE)
        goal = RunPolicy.Goal(
            instruction=instruction,
            combine="all" if needs_all and enders else "",
            time_limit_s=time_limit_s,
        )
        try:
            goal.enders = [ender_message(text) for text in enders]
        except ValueError as error:
            return Answer(False, f"ender: {error}")
        news: Future[Any] = Future()  # the goal's first feedback (None), or else its result
        sent = self._send(goal, on_feedback=lambda _: _tell_once(news, None))
        try:
            handle = await result_of(sent, ANSWER_S)
        except asyncio.TimeoutError:
            sent.add_done_callback(_cancel)
            return no_answer(ACTION, ANSWER_S, undoing="the task is cancelled")
        if not handle.accepted:
            return Answer(False, f"{ACTION} has not accepted the goal; its log says why")
        handle.get_result_async().add_done_callback(lambda done: _tell_once(news, done.result()))
        try:
            ended = await result_of(news, ANSWER_S)
        except asyncio.TimeoutError:
            return Answer(True, f"the task waits for its start: {instruction}")
        if ended is None:
            return Answer(True, f"the task runs: {instruction}")
        task = ended.result.task
        return Answer(task.termination != TaskResult.TERMINATION_REJECTED, task.reason)

    async def cancel(self) -> Answer:
        """Cancel the task that runs, whoever has started it, and one that is on its way."""
        self._cancels += 1
        if not self._cancel.service_is_ready():
            return not_there(TASK_NODE)
        request = self._cancel.call_async(CancelGoal.Request())  # no id and no time: all goals
        try:
            response = await result_of(request, ANSWER_S)
        except asyncio.TimeoutError:
            return no_answer(ACTION, ANSWER_S)
        finally:
            self._cancel.remove_pending_request(request)
        if not response.goals_canceling:
            return Answer(False, "no task runs")
        return Answer(True, "the task is cancelled, the robot brakes")

    def _send(self, goal: RunPolicy.Goal, on_feedback: Callable[[Any], None]) -> Any:
        """Send a goal; one that is accepted only after a cancel is cancelled, too."""
        sent = self._client.send_goal_async(goal, feedback_callback=on_feedback)
        cancels_before = self._cancels

        def on_answer(answer: Any) -> None:
            if self._cancels != cancels_before:
                _cancel(answer)

        sent.add_done_callback(on_answer)
        return sent


def _cancel(answer: Any) -> None:
    """Cancel a goal that was accepted."""
    if answer.result().accepted:
        answer.result().cancel_goal_async()


def _tell_once(news: Future[Any], value: Any) -> None:
    """Give a future its result, unless it has one; called in the ROS thread only."""
    if not news.done():
        news.set_result(value)
