# SPDX-License-Identifier: Apache-2.0
"""Notices that a task which drives the policy node has lost its task node.

A task starts the policy node, and its task node ends it: by an ender, a time limit or a cancel. A
task node that was killed ends nothing, so the policy node stops by itself once it falls silent.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from gr00t_ros.msg import TaskStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.node.silence import Silence, create_look_timer

TASK_STATUS_TOPIC = "task_node/status"
# In these states the task wants the robot to move. While it stops it does not: who starts the
# policy node then does so without the task.
DRIVING = (TaskStatus.STATE_STARTING, TaskStatus.STATE_RUNNING, TaskStatus.STATE_WAITING)


class TaskDriver:
    """The run of the task node whose task drives this node, and how long it has been silent. Pure.

    Attributes:
        source: The run of the task node; empty while no task drives this node.
    """

    def __init__(self) -> None:
        self.source = ""
        self._silence = Silence()

    def receive(self, status: TaskStatus) -> str:
        """Take a status of a task node.

        Returns:
            Why the task cannot stop the robot any more; empty while it can.
        """
        if status.state in DRIVING:
            self.source = status.source
        if status.source != self.source:
            return ""  # another run does not vouch for the task of this one
        self._silence.end()
        if status.state == TaskStatus.STATE_READY:
            return "task_node has ended its task, and has not stopped this node"
        return ""

    def wait(self, elapsed_s: float, timeout_s: float) -> str:
        """Let time pass.

        Args:
            elapsed_s: Since the last call, s.
            timeout_s: A task node that is silent for longer has ended, s.

        Returns:
            Why the task cannot stop the robot any more; empty while it can.
        """
        if not self.source:
            return ""
        self._silence.add(elapsed_s)
        if self._silence.lasted_s <= timeout_s:
            return ""
        return (
            f"task_node has sent no status for {self._silence.lasted_s:.1f} s while its task ran: "
            "it has ended, or hangs"
        )

    def release(self) -> None:
        """No task drives this node any more."""
        self.source = ""
        self._silence.end()


class TaskWatch:
    """Follows the task node's status for as long as the policy node exists.

    Args:
        node: The policy node.
        timeout_s: Returns how long a task node may be silent while its task runs, s.
        on_lost: Called with the reason when the task cannot stop the robot any more.
    """

    def __init__(
        self, node: Node, timeout_s: Callable[[], float], on_lost: Callable[[str], None]
    ) -> None:
        self._driver = TaskDriver()
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        node.create_subscription(TaskStatus, TASK_STATUS_TOPIC, self._receive, STATUS)
        create_look_timer(node, self._look)

    def release(self) -> None:
        """Inference was stopped: no task drives this node until the next one does."""
        self._driver.release()

    def _receive(self, status: TaskStatus) -> None:
        self._report(self._driver.receive(status))

    def _look(self, elapsed_s: float) -> None:
        self._report(self._driver.wait(elapsed_s, self._timeout_s()))

    def _report(self, problem: str) -> None:
        if problem:
            self._driver.release()
            self._on_lost(problem)
