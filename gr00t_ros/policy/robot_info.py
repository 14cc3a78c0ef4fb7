# SPDX-License-Identifier: Apache-2.0
"""What the policy node tells a server about its robot, for the people who watch a fleet."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

from gr00t_policy_core.serving.wire.client_info import CLIENT_INFO, ClientInfo
from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.diagnostics import SUMMARIES
from gr00t_ros.node.qos import STATUS

CONTROL_STATUS_TOPIC = "control_node/status"
# Holds are counted by reason: the numbers in it would make each one a reason of its own.
NUMBER = re.compile(r"\d+(\.\d+)?")
MAX_REASONS = 64


class RobotInfo:
    """Follows the control node's status, and puts what it says into the options of a request.

    Args:
        node: Subscribes to the status of the control node in its own namespace.
        robot: Name of the robot.
        task: Returns the present instruction.
    """

    def __init__(self, node: Node, *, robot: str, task: Callable[[], str]) -> None:
        self._node = node
        self._robot = robot
        self._task = task
        self._status: ControlStatus | None = None
        self._holds: dict[str, int] = {}
        self._subscription = node.create_subscription(
            ControlStatus, CONTROL_STATUS_TOPIC, self._on_status, STATUS
        )

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

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
        return {**(options or {}), CLIENT_INFO: self._info().as_dict()}

    def _info(self) -> ClientInfo:
        status = self._status
        return ClientInfo(
            robot=self._robot,
            task=self._task(),
            state="" if status is None else SUMMARIES.get(status.state, ""),
            reason="" if status is None else status.reason,
            holds=self._holds,
        )

    def _on_status(self, status: ControlStatus) -> None:
        before, self._status = self._status, status
        if before is None or status.holds <= before.holds:
            return  # the counter begins anew with each activation
        reason = NUMBER.sub("#", status.reason.removeprefix("holding: ")) or "a chunk ended"
        if reason in self._holds or len(self._holds) < MAX_REASONS:
            count = self._holds.get(reason, 0) + status.holds - before.holds
            # A new dict, because the worker reads the old one in its own thread.
            self._holds = {**self._holds, reason: count}
