# SPDX-License-Identifier: Apache-2.0
"""What the lifecycle nodes share: bring-up, shutdown, status and diagnostics."""

from __future__ import annotations

import traceback
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.lifecycle import State as LifecycleState
from rclpy.parameter import Parameter
from rclpy.time import Time

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.parameters import ROS_PARAMETERS
from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.diagnostics import (
    DIAGNOSTICS_PERIOD_S,
    Status,
    diagnostics,
    diagnostics_publisher,
)
from gr00t_ros.node.node_parameters import declare_overrides, declare_parameters
from gr00t_ros.node.parent_watch import ParentWatch
from gr00t_ros.node.qos import STATUS
from gr00t_ros.node.startup import init_ros, log_unmatched_files
from gr00t_ros.node.stop_signals import StopRequest, stop_signals

STATUS_PERIOD_S = 0.5
WRONG_ARGUMENTS = 2  # exit status, the same as argparse's
SIGNAL_POLL_S = 0.2  # the executor notices a signal when it wakes up


class ManagedNode(LifecycleNode):
    """A lifecycle node that can bring itself up and publishes its status in every state.

    `configure` reads the parameters; while the node is configured, setting one is rejected, since
    it would change nothing. The status goes to `~/status`, and also to `/diagnostics`.

    Args:
        name: Name of the node, without its namespace.
        status_type: Type of the message on `~/status`.
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, name: str, status_type: type[Status], **node_arguments: Any) -> None:
        super().__init__(
            name,
            allow_undeclared_parameters=True,
            **node_arguments,
        )
        declare_overrides(self)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._problem = ""  # why the node could not be configured, or what else has failed
        self._newest_status: Status | None = None
        self._status_publisher = self.create_publisher(status_type, "~/status", STATUS)
        self._diagnostics_publisher = diagnostics_publisher(self)
        # The steady clock runs while simulated time stands still: that state is reported, too.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD_S, self._publish_status, clock=steady)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)

    @property
    def autostart(self) -> bool:
        """Whether the node configures, activates and starts by itself."""
        return bool(self.get_parameter("autostart").value)

    @property
    def has_failed(self) -> bool:
        """Whether the node cannot go on: its process ends with an error, to be restarted."""
        return False

    @property
    def end_with_pid(self) -> int:
        """The process whose end ends this node too, 0 for none; `configure` checks the value."""
        pid = self.get_parameter("end_with_pid").value
        return pid if isinstance(pid, int) else 0

    @abstractmethod
    def configure(self) -> None:
        """Make everything that the parameters describe.

        Raises:
            SpecError: The parameters are wrong; one sentence for each problem.
        """

    @abstractmethod
    def close(self) -> None:
        """End threads, subscriptions and connections; `configure` may be called again."""

    @abstractmethod
    def status(self, now: Time) -> Status:
        """Return the status of the node every `STATUS_PERIOD_S`; it may log what needs a person.

        Args:
            now: The current time by the node's clock; the caller stamps the status with it.
        """

    def _publish_status(self) -> None:
        now = self.get_clock().now()
        status = self.status(now)
        if self._problem:
            status.state, status.reason = ControlStatus.STATE_ERROR, self._problem
        status.header.stamp = now.to_msg()
        self._status_publisher.publish(status)
        self._newest_status = status

    def _publish_diagnostics(self) -> None:
        status = self._newest_status
        if status is not None:
            now = self.get_clock().now().to_msg()
            self._diagnostics_publisher.publish(diagnostics(self, status, now))

    def _on_parameters(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        is_configured = state_of(self) in (
            State.PRIMARY_STATE_INACTIVE,
            State.PRIMARY_STATE_ACTIVE,
        )
        ours = [p.name for p in parameters if p.name.split(".")[0] not in ROS_PARAMETERS]
        if not (is_configured and ours):
            return SetParametersResult(successful=True)
        reason = f"{', '.join(ours)}: read by configure; clean the node up first"
        return SetParametersResult(successful=False, reason=reason)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.configure()
        except SpecError as error:
            problems = "\n".join(f"  - {problem}" for problem in error.problems)
            what = str(error).partition(":")[0]
            self._problem = f"cannot configure, {what}: {'; '.join(error.problems)}"
            self.get_logger().error(f"cannot configure, {what}:\n{problems}")
        except Exception as error:  # rclpy turns it into a failure without logging it
            self._problem = f"cannot configure: {type(error).__name__}: {error}"
            self.get_logger().error(f"cannot configure:\n{traceback.format_exc()}")
        else:
            self._problem = ""
            return TransitionCallbackReturn.SUCCESS
        self.close()
        return TransitionCallbackReturn.FAILURE

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._problem = "a transition failed; the node has to be configured again"
        self.get_logger().error(self._problem)
        self.close()
        return TransitionCallbackReturn.SUCCESS


def state_of(node: LifecycleNode) -> int:
    """The primary state of a node, one of `lifecycle_msgs/State`."""
    return int(node._state_machine.current_state[0])


def bring_up(node: LifecycleNode) -> bool:
    """Configure and activate a node, from any primary state.

    Returns:
        Whether the node is active; if it is not, its own log says why.
    """
    if state_of(node) == State.PRIMARY_STATE_UNCONFIGURED:
        node.trigger_configure()
    if state_of(node) == State.PRIMARY_STATE_INACTIVE:
        node.trigger_activate()
    return state_of(node) == State.PRIMARY_STATE_ACTIVE


def spin_node(make_node: Callable[[StopRequest], ManagedNode], args: list[str] | None) -> int:
    """Run a node until SIGINT, SIGTERM, its failure, the end of the context or of `end_with_pid`.

    Returns:
        The exit status: 0 after an orderly end, 1 after a failure, `WRONG_ARGUMENTS` where ROS
        cannot read the arguments.
    """
    if not init_ros(args):
        return WRONG_ARGUMENTS
    with stop_signals() as stopping:
        node = make_node(stopping)
        log_unmatched_files(node, args)
        parent = ParentWatch(node.end_with_pid)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            if node.autostart:
                bring_up(node)
            while (
                rclpy.ok()
                and not stopping.is_set()
                and not node.has_failed
                and not parent.has_ended()
            ):
                executor.spin_once(timeout_sec=SIGNAL_POLL_S)
            if parent.has_ended():
                node.get_logger().warning(
                    f"the process {parent.pid} has ended (end_with_pid): this node ends, too"
                )
        finally:
            has_failed = node.has_failed
            node.close()
            executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
            rclpy.try_shutdown()
    return int(has_failed)
