# SPDX-License-Identifier: Apache-2.0
"""A robot that is started and stopped by two services, the first of which may be late."""

from __future__ import annotations

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger


class LateServices:
    """Two services; a start is carried out only after `arrive`.

    Args:
        node: Spins.
        start: The name of the service that starts.
        stop: The name of the service that stops.

    Attributes:
        asked: How many starts were asked for.
        done: What was carried out, in its order.
    """

    def __init__(self, node: Node, *, start: str = "start", stop: str = "stop") -> None:
        self.asked = 0
        self.done: list[str] = []
        self._network = Future[None](executor=node.executor)
        node.create_timer(0.01, lambda: None)  # the executor looks at waiting callbacks only then
        group = ReentrantCallbackGroup()
        node.create_service(Trigger, start, self._on_start, callback_group=group)
        node.create_service(Trigger, stop, self._on_stop, callback_group=group)

    def arrive(self) -> None:
        """Carry out the starts that were asked for, and those to come."""
        self._network.set_result(None)

    async def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.asked += 1
        await self._network
        self.done.append("start")
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.done.append("stop")
        return response
