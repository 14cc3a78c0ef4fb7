# SPDX-License-Identifier: Apache-2.0
"""Sends one goal to the task node from a terminal, and shows how it goes."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import rclpy
from action_msgs.msg import GoalInfo
from action_msgs.srv import CancelGoal
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger
from unique_identifier_msgs.msg import UUID

from gr00t_policy_core.errors import ClosedError, PolicyError, PolicyTimeoutError, printable
from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskResult
from gr00t_ros.node.stop_signals import StopRequest, stop_signals
from gr00t_ros.task.driven_nodes import CONTROL_NODE, POLICY_NODE
from gr00t_ros.task.outcome import Outcome, Termination
from gr00t_ros.task.terminal_lines import TerminalLines

ACTION = "task_node/run_policy"
SERVER_S = 15.0  # for the task node to be found
SILENCE_S = 5.0  # feedback comes at 4 Hz
STOP_S = 2.0  # for the answer of a node that is stopped because the task node has ended
POLL_S = 0.05
LINE_PERIOD_S = 2.0  # between two lines of progress where they cannot overwrite each other
LEFT = "left before the result came; the robot may still move"
CANCELLING = "run: cancelling, the robot brakes; Ctrl-C again does not wait for it\n"
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
STATES = {
    RunPolicy.Feedback.STATE_STARTING: "starting",
    RunPolicy.Feedback.STATE_RUNNING: "running",
    RunPolicy.Feedback.STATE_WAITING: "waiting",
    RunPolicy.Feedback.STATE_STOPPING: "stopping",
}


def run_task(goal: RunPolicy.Goal, *, namespace: str = "") -> int:
    """Run a goal to its end; the first Ctrl-C cancels it, the second one leaves it alone.

    A terminal that is closed is the first Ctrl-C. One that is stopped, or a pipe that is not read,
    holds nothing up.

    Args:
        goal: What the robot is to do.
        namespace: The namespace of the robot's nodes.

    Returns:
        The exit status of the command: 0, `EXIT_FAILED` or `EXIT_INTERRUPTED`.

    Raises:
        PolicyError: There is no task node, it has ended during the task, or Ctrl-C came twice.
    """
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    lines = TerminalLines()
    with stop_signals() as stopping:
        client = TaskClient(namespace, stopping, lines)
        try:
            return client.run(goal)
        finally:
            client.close()
            rclpy.try_shutdown()
            lines.close()


class TaskClient:
    """One run of a task, seen from a terminal.

    Args:
        namespace: The namespace of the robot's nodes.
        stopping: Whether Ctrl-C was pressed, or the terminal closed.
        lines: Where progress and result are shown.
    """

    def __init__(self, namespace: str, stopping: StopRequest, lines: TerminalLines) -> None:
        self._node = Node(f"task_client_{os.getpid()}", namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._client = ActionClient(self._node, RunPolicy, ACTION)
        self._cancel = self._node.create_client(CancelGoal, f"{ACTION}/_action/cancel_goal")
        # Made now: to be found takes time, which a stop has not.
        self._stops = {
            node: self._node.create_client(Trigger, f"{node}/stop")
            for node in (CONTROL_NODE, POLICY_NODE)
        }
        self._goal_id = UUID(uuid=list(uuid4().bytes))
        self._stopping = stopping
        self._is_sent = False
        self._is_cancelled = False
        self._heard_s: float | None = None  # time.monotonic() of the newest sign of the task
        self._lines = lines
        self._progress = _Progress(lines)

    def close(self) -> None:
        """Leave the graph."""
        self._progress.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._client.destroy()
        self._node.destroy_node()

    def run(self, goal: RunPolicy.Goal) -> int:
        """Send the goal and wait for its result."""
        name = self._node.resolve_topic_name(ACTION)
        if not self._spin_until(self._is_served, SERVER_S):
            raise PolicyTimeoutError(
                f"nobody serves {name} within {SERVER_S:g} s: start task_node beside the robot's "
                "other nodes (--namespace, if they have one)"
            )
        if self._stopping.is_set():
            self._lines.write("run: interrupted before the task started\n")
            return EXIT_INTERRUPTED
        handle = self._send(goal, name)
        answer = handle.get_result_async()
        self._heard_s = time.monotonic()
        if self._is_cancelled:
            self._request_cancel()  # one that came before the goal was lost
        while not answer.done():
            self._watch(name)
        self._progress.close()
        result = answer.result().result
        for line in result_lines(result):
            self._lines.write(f"{line}\n")
        return exit_status(result.task, was_interrupted=self._is_cancelled)

    def _is_served(self) -> bool:
        return self._client.server_is_ready() and self._cancel.service_is_ready()

    def _send(self, goal: RunPolicy.Goal, name: str) -> Any:
        """Send the goal; returns its handle. From now on the robot may move."""
        self._is_sent = True
        sent = self._client.send_goal_async(
            goal, feedback_callback=self._on_feedback, goal_uuid=self._goal_id
        )
        ends_s = time.monotonic() + SERVER_S
        while not sent.done():
            self._watch(name)
            if time.monotonic() > ends_s:
                state = "it may begin the task later" if self._heard_s is None else "the task runs"
                problem = f"{name} has not answered within {SERVER_S:g} s: {state}"
                raise PolicyTimeoutError(self._give_up(problem))
        handle = sent.result()
        if not handle.accepted:
            raise PolicyError(f"{name} has not accepted the goal; the log of task_node says why")
        return handle

    def _watch(self, name: str) -> None:
        """Let messages come, cancel the task at Ctrl-C, and give up one that has fallen silent.

        The first feedback may come although the answer to the goal is lost.
        """
        self._spin_once()
        if self._stopping.is_set() and not self._is_cancelled:
            self._is_cancelled = True
            self._request_cancel()
            self._progress.close()
            self._lines.write(CANCELLING)
        if self._stopping.is_repeated():
            raise ClosedError(LEFT)
        if self._heard_s is not None and time.monotonic() - self._heard_s > SILENCE_S:
            silence = f"has sent nothing for {SILENCE_S:g} s: task_node has ended, or hangs"
            raise PolicyTimeoutError(self._give_up(f"{name} {silence}"))

    def _request_cancel(self) -> None:
        """Cancel the task, also where the goal is not answered yet."""
        self._cancel.call_async(CancelGoal.Request(goal_info=GoalInfo(goal_id=self._goal_id)))

    def _on_feedback(self, message: Any) -> None:
        self._heard_s = time.monotonic()
        self._progress.show(message.feedback)

    def _give_up(self, text: str) -> str:
        """Stop the robot, whose task nobody watches any more; returns what happened, in words.

        The task node may go on later, and start the policy node. It cancels the task then, if the
        request has reached it. The control node is started by no task.

        Args:
            text: Why; the words begin with it.
        """
        self._progress.close()
        self._request_cancel()
        control_is_stopped, control = self._stop(CONTROL_NODE)
        policy_is_stopped, policy = self._stop(POLICY_NODE)
        if control_is_stopped:
            outlook = f"~/start of {CONTROL_NODE} allows motion again"
        elif policy_is_stopped:
            outlook = "a task that goes on may start it again"
        else:
            outlook = "the robot may still move"
        return "; ".join((text, control, policy, outlook))

    def _stop(self, node: str) -> tuple[bool, str]:
        """Stop a node; returns whether it was stopped, and what happened, in words."""
        client = self._stops[node]
        self._spin_until(client.service_is_ready, STOP_S)
        future = client.call_async(Trigger.Request())
        if not self._spin_until(future.done, STOP_S):
            return False, f"{node} has not answered ~/stop within {STOP_S:g} s"
        answer = future.result()
        if not answer.success:
            return False, f"{node} could not be stopped: {answer.message}"
        return True, f"{node} was {answer.message}"

    def _spin_once(self) -> None:
        self._executor.spin_once(timeout_sec=POLL_S)

    def _spin_until(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for something, or before the goal is sent for Ctrl-C; returns whether it came."""
        ends_s = time.monotonic() + timeout_s
        while not predicate():
            if self._stopping.is_set() and not self._is_sent:
                return True
            if time.monotonic() > ends_s:
                return False
            self._spin_once()
        return True


class _Progress:
    """Lines of progress; on a terminal each overwrites the one before."""

    def __init__(self, lines: TerminalLines) -> None:
        self._lines = lines
        self._overwrites = sys.stdout.isatty()
        self._shown: tuple[int, int] | None = None
        self._shown_s = -math.inf
        self._is_open = False

    def show(self, feedback: RunPolicy.Feedback) -> None:
        """Show a feedback, if it is time to."""
        now_s = time.monotonic()
        present = (feedback.subtask, feedback.state)
        if self._overwrites:
            width = shutil.get_terminal_size().columns - 1  # a line that is folded stays
            self._lines.write(f"\r\x1b[K{progress_text(feedback)[:width]}")
            self._is_open = True
        elif present != self._shown or now_s - self._shown_s >= LINE_PERIOD_S:
            self._lines.write(f"{progress_text(feedback)}\n")
            self._shown, self._shown_s = present, now_s

    def close(self) -> None:
        """End the line that was overwritten last."""
        if self._is_open:
            self._lines.write("\n")
            self._is_open = False


def progress_text(feedback: RunPolicy.Feedback) -> str:
    """One line of progress."""
    count = f"{feedback.subtask + 1}/{feedback.subtask_count} " * (feedback.subtask_count > 1)
    parts = [
        f"run: {count}{feedback.instruction}",
        f"{feedback.elapsed_s:.1f} s",
        STATES.get(feedback.state, "unknown"),
    ]
    if feedback.state == RunPolicy.Feedback.STATE_WAITING:
        parts.append(feedback.reason)
    if not math.isnan(feedback.round_trip_s):
        trip = f"chunk {feedback.chunk_id}, round trip {1e3 * feedback.round_trip_s:.0f} ms"
        parts.append(trip)
    parts += [f"{ender.progress:.0%} {ender.text}" for ender in feedback.enders]
    return printable(" | ".join(parts))


def result_lines(result: RunPolicy.Result) -> Iterator[str]:
    """How the task ended, and each subtask where there are several."""
    if len(result.subtasks) > 1:
        for index, subtask in enumerate(result.subtasks, start=1):
            yield f"run: {index}. {printable(subtask.instruction)}: {result_text(subtask)}"
    yield f"run: {result_text(result.task)}"


def result_text(result: TaskResult) -> str:
    """How a task or a subtask ended, in words and figures."""
    termination, outcome = Termination(result.termination), Outcome(result.outcome)
    text = f"{termination.text} after {result.elapsed_s:.1f} s, outcome {outcome.text}"
    text += f": {result.reason}"
    if result.chunks:
        text += (
            f" ({result.chunks} chunks, round trip p50 {1e3 * result.round_trip_p50_s:.0f} ms p99 "
            f"{1e3 * result.round_trip_p99_s:.0f} ms, {result.holds} holds, "
            f"{result.inference_errors} errors)"
        )
    return printable(text)


def exit_status(task: TaskResult, *, was_interrupted: bool) -> int:
    """The exit status of the command for a result."""
    if was_interrupted and task.termination == TaskResult.TERMINATION_CANCELLED:
        return EXIT_INTERRUPTED
    has_ended = task.termination == TaskResult.TERMINATION_ENDER
    return 0 if has_ended and task.outcome != TaskResult.OUTCOME_FAILURE else EXIT_FAILED
