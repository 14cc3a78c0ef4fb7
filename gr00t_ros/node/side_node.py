# SPDX-License-Identifier: Apache-2.0
"""A node beside a lifecycle node, for calls whose answers must arrive while that one is busy."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from gr00t_ros.node.spin_thread import SpinThread

T = TypeVar("T")

CALL_S = 5.0
JOIN_S = 5.0
POLL_S = 0.005


class SideNode(Node):
    """A node with a thread of its own.

    A transition of a lifecycle node runs in the callback of its executor, which takes no answers
    meanwhile. Clients that a transition waits for belong to this node.

    Args:
        owner: The node that it belongs to: same context, same namespace.
        name: What its name has beside the owner's.
    """

    def __init__(self, owner: Node, name: str) -> None:
        super().__init__(
            f"{owner.get_name()}_{name}",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._spun_by = SingleThreadedExecutor(context=owner.context)
        self._spun_by.add_node(self)
        self._spinning = SpinThread(self._spun_by, self.get_name())

    def call(self, callback: Callable[[], T]) -> T:
        """Call something in the thread of this node, between its callbacks, and wait for it.

        For what may only be made while the node does not spin, such as an action client: rclpy
        adds it to the node before it is complete.

        Raises:
            TimeoutError: The thread has not called it within 5 s.
        """
        returned: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> None:
            try:
                returned.set_result(callback())
            except Exception as error:
                returned.set_exception(error)  # it would end the thread

        self._spun_by.create_task(call)
        try:
            return returned.result(CALL_S)
        except concurrent.futures.TimeoutError:
            raise TimeoutError("the node's thread is busy or has ended") from None

    def wait_for(self, is_done: Callable[[], object], timeout_s: float) -> bool:
        """Wait in another thread than its own; returns whether it is done in time."""
        pause, deadline_s = threading.Event(), time.monotonic() + timeout_s
        while not is_done():
            if time.monotonic() > deadline_s:
                return False
            pause.wait(POLL_S)
        return True

    def destroy_node(self) -> None:
        """End the thread, then the node; a node whose thread does not end ends with the process."""
        if self._spinning.end(JOIN_S):
            super().destroy_node()
