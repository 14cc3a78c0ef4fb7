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
    done: RosFuture[None] = RosFuture(executor=node.executor)
    future.add_done_callback(lambda _: done.set_result(None))
    return done
