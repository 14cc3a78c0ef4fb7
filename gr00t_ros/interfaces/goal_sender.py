# SPDX-License-Identifier: Apache-2.0
"""Sends the target of a command as the goal of an action, when it changes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.interfaces.binary_gripper import Grip
from gr00t_ros.interfaces.goal_client import GoalClient
from gr00t_ros.interfaces.interface import GoalInterface

RETRY_S = 1.0  # after a goal that the server has rejected or not answered


class GoalSender:
    """Sends goals for one action of the contract, and no more of them than its interface allows.

    Args:
        client: Sends the goals.
        key: The action key.
        interface: Makes the goals, and says how often.
        period_s: Time between two commands, s.
    """

    def __init__(
        self, client: GoalClient, key: str, interface: GoalInterface, period_s: float
    ) -> None:
        self._client = client
        self._key = key
        self._interface = interface
        self._period_s = period_s
        self._last: float | None = None  # the last goal, rad (or m)
        self._sent_s = -math.inf
        self._grip: Grip | None = None

    def aim(self, targets: Mapping[str, Row]) -> None:
        """Send a goal if the target is far enough from the last one, and long enough after it.

        Args:
            targets: Where the commands are going, float64 (D,) by action key.
        """
        if not self._client.is_server_there:
            self._last = None  # whoever comes next does not know the target
            return
        now_s = time.monotonic()
        target = self._goal_of(targets[self._key], now_s)
        since_s = now_s - self._sent_s
        is_refused = self._client.is_refused and since_s > RETRY_S
        has_changed = self._last is None or abs(target[0] - self._last) > self._interface.deadband
        if not (has_changed or is_refused) or since_s < self._interface.min_interval_s:
            return
        self._last, self._sent_s = float(target[0]), now_s
        goal = self._interface.make_message(self._period_s)
        self._interface.fill(goal, target, None)
        self._client.send(goal)

    def _goal_of(self, target: Row, now_s: float) -> Row:
        binary = self._interface.binary
        if binary is None:
            return target
        self._grip = binary.grip(target, now_s, self._grip)
        return binary.position(self._grip)

    def forget(self) -> None:
        """Send the next target in any case: somebody else may have moved the gripper."""
        self._last = None

    def cancel(self) -> None:
        """Cancel the goal in progress; the next target is sent in any case."""
        self.forget()
        self._client.cancel()
