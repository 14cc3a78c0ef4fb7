# SPDX-License-Identifier: Apache-2.0
"""A node beside a lifecycle node, for calls whose answers must arrive while that one is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from gr00t_ros.node.spin_thread import SpinThread

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
        executor = SingleThreadedExecutor(context=owner.context)
        executor.add_node(self)
        self._spinning = SpinThread(executor, self.get_name())

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
