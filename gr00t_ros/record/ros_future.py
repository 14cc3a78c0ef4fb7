# SPDX-License-Identifier: Apache-2.0
"""Lets a callback of a node wait for a thread."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from rclpy.node import Node
from rclpy.task import Future as RosFuture


def ros_future(future: Future[Any], node: Node) -> RosFuture[None]:
    """A future that a callback of the node can await; it is done when the other one is.

    It has neither result nor exception: those are the other one's.
    """
    executor = node.executor
    done: RosFuture[None] = RosFuture(executor=executor)

    def finish(_: Future[Any]) -> None:
        done.set_result(None)
        executor.wake()  # rclpy looks at waiting callbacks only when something else wakes it

    future.add_done_callback(finish)
    return done
