# SPDX-License-Identifier: Apache-2.0
"""Two services of a node, one of which lets its robot move and one of which keeps it from moving.

A node that hung, or was busy for long, finds requests to both. The executor keeps the requests to
one service in order, but takes those of different services in the order of their creation.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_srvs.srv import Trigger

Callback = Callable[[Trigger.Request, Trigger.Response], Trigger.Response]


class OppositeServices:
    """Offers both services; a start that waits beside a stop is not carried out.

    Which of them was called first is not known: the robot then stands still.

    Args:
        node: Offers the services, all callbacks of which run in one thread.
        start: The name of the service that lets the robot move.
        on_start: Carries it out.
        stop: The name of the service that keeps the robot from moving.
        on_stop: Carries it out.
    """

    def __init__(
        self, node: Node, *, start: str, on_start: Callback, stop: str, on_stop: Callback
    ) -> None:
        self._carry_out_stop = on_stop
        # The executor takes a waiting stop first, which then finds all waiting starts.
        self._stop = node.create_service(Trigger, stop, self._on_stop)
        self._start = node.create_service(Trigger, start, on_start)

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response = self._carry_out_stop(request, response)
        withdrawn = Trigger.Response(
            success=False,
            message=f"not carried out: {self._stop.srv_name} was called at the same time",
        )
        while True:
            _, header = self._start.handle.service_take_request(Trigger.Request)
            if header is None:
                return response
            self._start.send_response(withdrawn, header)
