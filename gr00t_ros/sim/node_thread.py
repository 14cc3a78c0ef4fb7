# SPDX-License-Identifier: Apache-2.0
"""A node of a program that is not a node itself: its callbacks run in a thread of their own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

END_S = 5.0

AnyNode = TypeVar("AnyNode", bound=Node)


@contextlib.contextmanager
def spinning(make_node: Callable[[], AnyNode]) -> Iterator[AnyNode]:
    """Spin a node in a thread; Ctrl-C stays with the program.

    Args:
        make_node: Makes the node in the default context, which ends with it.
    """
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
        thread = _spin(node)
    except BaseException:
        rclpy.try_shutdown()
        raise
    try:
        yield node
    finally:
        rclpy.try_shutdown()
        thread.join(END_S)


def _spin(node: Node) -> threading.Thread:
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name=node.get_name(), daemon=True)
    thread.start()
    return thread
