# SPDX-License-Identifier: Apache-2.0
"""An action client whose goals may be sent by any thread."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.action import ActionClient


class SharedActionClient(ActionClient):
    """An action client that loses no answer where another thread spins its node.

    rclpy takes down what it waits for after it has sent the goal, and that of Kilted does so twice.
    An answer that another thread takes in between completes no future (ros2/rclpy#1123). Here none
    is taken while a goal is sent.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Before the node knows the client: its thread may look for answers at once.
        self._sending = threading.Lock()
        super().__init__(*arguments, **options)

    def send_goal_async(self, *arguments: Any, **options: Any) -> Any:
        """Send a goal, as the class that this one is derived from does."""
        with self._sending:
            return super().send_goal_async(*arguments, **options)

    def take_data(self) -> Any:
        """Take what has arrived; called by the executor."""
        with self._sending:
            return super().take_data()
