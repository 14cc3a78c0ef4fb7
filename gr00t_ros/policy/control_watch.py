# SPDX-License-Identifier: Apache-2.0
"""Notices that the control node was started again while the policy node infers.

A stop of the control node, or a failure that only a person may end, does not outlive its process:
whoever starts it again, a supervisor for example, must not have the robot moved by that.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.policy.robot_info import CONTROL_STATUS_TOPIC

RESTARTED = "control_node was started again; ~/start goes on"


class ControlRun:
    """The run of the control node that the policy node has been inferring for. Pure.

    Attributes:
        source: The first that was heard since the start; empty before that. Chunks name it, and
            another run rejects them: it may be there before its first status is heard.
    """

    def __init__(self) -> None:
        self.source = ""

    def begin(self) -> None:
        """Somebody starts inference, for whichever control node is there or comes."""
        self.source = ""

    def receive(self, status: ControlStatus) -> str:
        """Take a status of a control node.

        Returns:
            Why inference must not go on; empty where it may.
        """
        self.source = self.source or status.source
        return RESTARTED if status.source != self.source else ""


class ControlWatch:
    """Follows the control node's status for as long as the policy node exists.

    Args:
        node: The policy node.
        on_restart: Called with the reason for each status of another run than the one that
            inference was started for.

    Attributes:
        run: The run that inference was started for.
    """

    def __init__(self, node: Node, on_restart: Callable[[str], None]) -> None:
        self.run = ControlRun()
        self._on_restart = on_restart
        node.create_subscription(ControlStatus, CONTROL_STATUS_TOPIC, self._receive, STATUS)

    def _receive(self, status: ControlStatus) -> None:
        problem = self.run.receive(status)
        if problem:
            self._on_restart(problem)
