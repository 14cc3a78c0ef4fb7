# SPDX-License-Identifier: Apache-2.0
"""What the two lifecycle nodes share: coming up, going down, and errors a person can act on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from gr00t_policy_core.errors import SpecError


def state_of(node: LifecycleNode) -> int:
    """The primary state of a node, one of `lifecycle_msgs/State`."""
    return int(node._state_machine.current_state[0])


def bring_up(node: LifecycleNode) -> bool:
    """Configure and activate a node, from whatever primary state it is in.

    Returns:
        Whether it is active now; its own log says why not.
    """
    if state_of(node) == State.PRIMARY_STATE_UNCONFIGURED:
        node.trigger_configure()
    if state_of(node) == State.PRIMARY_STATE_INACTIVE:
        node.trigger_activate()
    return state_of(node) == State.PRIMARY_STATE_ACTIVE


def log_problems(node: LifecycleNode, error: SpecError) -> TransitionCallbackReturn:
    """Tell everything that is wrong, a line each; returns the result for `on_configure`."""
    lines = "\n".join(f"  - {problem}" for problem in error.problems)
    node.get_logger().error(f"cannot configure, {str(error).partition(':')[0]}:\n{lines}")
    return TransitionCallbackReturn.FAILURE


def spin_node(make_node: Callable[[], Any], args: list[str] | None) -> int:
    """Run a node until SIGINT, SIGTERM or the end of the context, then close it.

    Returns:
        The exit status: 0 after an orderly end.
    """
    rclpy.init(args=args)
    node = make_node()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    signal.signal(signal.SIGTERM, lambda *_: executor.shutdown(timeout_sec=0))
    try:
        if node.autostart:
            bring_up(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        node.get_logger().info("asked to end")
    finally:
        node.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    sys.stdout.flush()
    return 0
