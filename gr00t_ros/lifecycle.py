# SPDX-License-Identifier: Apache-2.0
"""What the two lifecycle nodes share: coming up, going down, and errors a person can act on."""

from __future__ import annotations

import signal
import threading
from abc import abstractmethod
from collections.abc import Callable

import rclpy
from lifecycle_msgs.msg import State
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from gr00t_policy_core.errors import SpecError

SIGNAL_POLL_S = 0.2  # a signal is noticed when the executor wakes up


class ManagedNode(LifecycleNode):
    """A lifecycle node that can bring itself up, and be closed in order."""

    @property
    def autostart(self) -> bool:
        """Whether the node configures, activates and starts by itself."""
        return bool(self.get_parameter("autostart").value)

    @abstractmethod
    def close(self) -> None:
        """End threads and connections; the node may be destroyed then."""


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


def spin_node(make_node: Callable[[], ManagedNode], args: list[str] | None) -> int:
    """Run a node until SIGINT, SIGTERM or the end of the context, then close it.

    The signals are ours, not rclpy's: its handlers end the context at once, and a node that
    commands an arm must still be able to publish its last command.

    Returns:
        The exit status: 0 after an orderly end.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    node = make_node()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.autostart:
            bring_up(node)
        while rclpy.ok() and not stopping.is_set():
            executor.spin_once(timeout_sec=SIGNAL_POLL_S)
    finally:
        node.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
