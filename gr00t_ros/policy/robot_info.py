# SPDX-License-Identifier: Apache-2.0
"""What the policy node tells a server about its robot, for the people who watch a fleet."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

from gr00t_policy_core.serving.wire.client_info import CLIENT_INFO, ClientInfo
from gr00t_ros.msg import ControlStatus, TaskStatus
from gr00t_ros.node.diagnostics import SUMMARIES
from gr00t_ros.node.qos import STATUS
from gr00t_ros.policy.task_tally import TaskTally
from gr00t_ros.policy.task_watch import TASK_STATUS_TOPIC

CONTROL_STATUS_TOPIC = "control_node/status"
# Holds are counted by reason: the numbers in it would make each one a reason of its own.
NUMBER = re.compile(r"\d+(\.\d+)?")
MAX_REASONS = 64
TELL_AGAIN_S = 10.0  # a server lists the clients of the last minute


class RobotInfo:
    """Follows the statuses of the control node and the task node, and says what they mean.

    Args:
        node: Subscribes to the statuses in its own namespace.
        robot: Name of the robot.
        task: Returns the present instruction.
        now_s: A monotonic clock, s.
    """

    def __init__(
        self,
        node: Node,
        *,
        robot: str,
        task: Callable[[], str],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._robot = robot
        self._task = task
        self._now_s = now_s
        self._status: ControlStatus | None = None
        self._holds: dict[str, int] = {}
        self._tasks = TaskTally()
        self._told: dict[str, Any] = {}
        self._told_s = now_s()
        self._subscriptions = [
            node.create_subscription(ControlStatus, CONTROL_STATUS_TOPIC, self._on_status, STATUS),
            node.create_subscription(TaskStatus, TASK_STATUS_TOPIC, self._tasks.update, STATUS),
        ]

    def destroy(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def with_info(
        self, options: dict[str, Any] | None, capabilities: Sequence[str]
    ) -> dict[str, Any] | None:
        """Return options with what is known of the robot, for a server that takes it.

        Args:
            options: The options of a request.
            capabilities: Those of the policy and its server.
        """
        if CLIENT_INFO not in capabilities:
            return options
        return {**(options or {}), CLIENT_INFO: self._tell()}

    def news(self) -> dict[str, Any] | None:
        """What no request has told: something else than the last time, or the same for long."""
        is_due = self._now_s() - self._told_s >= TELL_AGAIN_S
        return self._tell() if is_due or self._info() != self._told else None

    def _tell(self) -> dict[str, Any]:
        self._told, self._told_s = self._info(), self._now_s()
        return self._told

    def _info(self) -> dict[str, Any]:
        status = self._status
        info = ClientInfo(
            robot=self._robot,
            task=self._task(),
            state="" if status is None else SUMMARIES.get(status.state, ""),
            reason="" if status is None else status.reason,
            outcomes=self._tasks.outcomes(),
            holds=self._holds,
        )
        return info.as_dict()

    def _on_status(self, status: ControlStatus) -> None:
        before, self._status = self._status, status
        if before is None or status.holds <= before.holds:
            return  # the counter begins anew with each activation
        reason = NUMBER.sub("#", status.reason.removeprefix("holding: ")) or "a chunk ended"
        if reason in self._holds or len(self._holds) < MAX_REASONS:
            count = self._holds.get(reason, 0) + status.holds - before.holds
            # A new dict, because the worker reads the old one in its own thread.
            self._holds = {**self._holds, reason: count}
