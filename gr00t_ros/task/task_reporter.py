# SPDX-License-Identifier: Apache-2.0
"""Publishes what the task node does: the task that runs, and how the tasks before have ended."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskCount, TaskResult, TaskStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.node.run_name import run_name
from gr00t_ros.task.run_loop import GoalHandle
from gr00t_ros.task.task_goal import TaskGoal

STATUS_PERIOD_S = 0.5
HANG_S = 2.0  # a task that reports nothing for this long hangs in an ender; it reports at 4 Hz
# What a status and a feedback say in the same words.
SHARED_FIELDS = (
    "state",
    "reason",
    "instruction",
    "subtask",
    "subtask_count",
    "elapsed_s",
    "subtask_elapsed_s",
    "enders",
)


class TaskReporter:
    """Publishes `~/status`; the policy node stops the robot when it falls silent during a task.

    It falls silent when a task does not report any more: an ender of the user's may hang.

    Safe between threads: tasks run in threads of their own.

    Args:
        node: The task node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._source = run_name(node)
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, int]] = Counter()
        self._last = TaskResult(round_trip_p50_s=math.nan, round_trip_p99_s=math.nan)
        self._present = TaskStatus(state=TaskStatus.STATE_READY)
        self._reported_s = 0.0
        self._publisher = node.create_publisher(TaskStatus, "~/status", STATUS)
        # The steady clock runs while simulated time stands still. No other callback may keep the
        # timer waiting: to the policy node a late status looks like a node that has ended.
        node.create_timer(
            STATUS_PERIOD_S,
            self._publish_again,
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def begin(self, goal: TaskGoal) -> None:
        """A task runs from now on."""
        limit_s = goal.time_limit_s
        self._show(
            TaskStatus(
                state=TaskStatus.STATE_STARTING,
                instruction=goal.subtasks[0].instruction,
                subtask_count=len(goal.subtasks),
                time_limit_s=limit_s if math.isfinite(limit_s) else 0.0,
            )
        )

    def report(self, feedback: RunPolicy.Feedback) -> None:
        """Take the progress of the task; a new state is published at once."""
        before = self._present
        shared = {name: getattr(feedback, name) for name in SHARED_FIELDS}
        present = TaskStatus(time_limit_s=before.time_limit_s, **shared)
        with self._lock:
            self._present, self._reported_s = present, time.monotonic()
        if (present.state, present.subtask) != (before.state, before.subtask):
            self._publish()

    def end(self, result: TaskResult) -> None:
        """The task has ended."""
        with self._lock:
            self._counts[result.termination, result.outcome] += 1
            self._last = result
        self.rest()

    def rest(self) -> None:
        """No task runs from now on."""
        if self._present.state != TaskStatus.STATE_READY:
            self._show(TaskStatus(state=TaskStatus.STATE_READY))

    def _show(self, present: TaskStatus) -> None:
        with self._lock:
            self._present, self._reported_s = present, time.monotonic()
        self._publish()

    def _publish_again(self) -> None:
        silent_s = time.monotonic() - self._reported_s
        if self._present.state == TaskStatus.STATE_READY or silent_s <= HANG_S:
            self._publish()
            return
        self._node.get_logger().error(
            f"the task has not gone on for {silent_s:.1f} s: does an ender of yours hang?",
            throttle_duration_sec=10.0,
        )

    def _publish(self) -> None:
        with self._lock:  # also keeps the statuses in order
            status = self._present
            status.header.stamp = self._node.get_clock().now().to_msg()
            status.source = self._source
            status.last_task = self._last
            status.counts = [
                TaskCount(termination=termination, outcome=outcome, count=count)
                for (termination, outcome), count in self._counts.items()
            ]
            self._publisher.publish(status)


class ReportedGoal:
    """A goal whose feedback goes to its client, and into the status of the node.

    Args:
        handle: The goal of the client.
        reporter: Publishes the status.
    """

    def __init__(self, handle: GoalHandle, reporter: TaskReporter) -> None:
        self._handle = handle
        self._reporter = reporter

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the client cancels."""
        return self._handle.is_cancel_requested

    def publish_feedback(self, feedback: RunPolicy.Feedback) -> None:
        """Tell the client and everybody else how the task goes."""
        self._handle.publish_feedback(feedback)
        self._reporter.report(feedback)
