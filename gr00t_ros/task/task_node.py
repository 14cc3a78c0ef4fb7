# SPDX-License-Identifier: Apache-2.0
"""The task node: runs a policy until a task ends, and says how it ended."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node

from gr00t_policy_core.errors import SpecError
from gr00t_ros.action import RunPolicy
from gr00t_ros.contract.parameter_checks import unknown_names, value_problem
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.contract.task_parameters import TASK_PARAMETERS
from gr00t_ros.msg import TaskResult
from gr00t_ros.node.node_parameters import descriptor_of, plain
from gr00t_ros.node.parent_watch import ParentWatch
from gr00t_ros.node.startup import init_ros
from gr00t_ros.node.stop_signals import stop_signals
from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.ender_goal import ender_message, read_ender
from gr00t_ros.task.goal_slot import BUSY, GoalSlot, Interrupt
from gr00t_ros.task.node_watch import WatchSettings
from gr00t_ros.task.outcome import Outcome, TaskEnd, Termination
from gr00t_ros.task.run_loop import RunLoop
from gr00t_ros.task.task_goal import TaskGoal, read_goal
from gr00t_ros.task.task_reporter import ReportedGoal, TaskReporter
from gr00t_ros.task.task_run import TaskRun

ACTION = "~/run_policy"
# One for the goal that runs, one for a goal that waits for its place, and some for messages and the
# status.
THREADS = 6
POLL_S = 0.2  # the executor notices a signal when it wakes up
WRONG_ARGUMENTS = 2


class TaskNode(Node):
    """Serves the action `~/run_policy`: drives and watches the policy node and the control node.

    Publishes `~/status`.

    Args:
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.

    Raises:
        SpecError: The parameters are wrong; one sentence for each problem.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("task_node", **node_arguments)
        settings = self._read_parameters()
        self._watch_settings = WatchSettings(
            status_timeout_s=float(settings["status_timeout_s"]),
            stall_timeout_s=float(settings["stall_timeout_s"]),
        )
        self._default_enders = [ender_message(text) for text in settings["default_enders"]]
        self._default_limit_s = float(settings["default_time_limit_s"])
        self._ends_on_takeover = settings["end_on_takeover"]
        self.end_with_pid = settings["end_with_pid"]
        self._slot = GoalSlot(preempts=settings["preempt"])
        self._nodes = DrivenNodes(self)
        self._reporter = TaskReporter(self)
        self._server = ActionServer(
            self,
            RunPolicy,
            ACTION,
            self._execute,
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    @property
    def is_busy(self) -> bool:
        """Whether a goal runs."""
        return self._slot.is_taken

    def end_tasks(self, reason: str) -> None:
        """End the goal that runs, if there is one; the robot is stopped before `is_busy` ends.

        No other goal runs from now on.
        """
        self._slot.close(reason)

    # Parameters

    def _read_parameters(self) -> dict[str, Any]:
        settings = {}
        for parameter in TASK_PARAMETERS:
            descriptor = descriptor_of(parameter, with_range=False)
            descriptor.read_only = True
            settings[parameter.name] = plain(
                self.declare_parameter(parameter.name, parameter.default, descriptor)
            )
        overrides = {name: p.value for name, p in self._parameter_overrides.items()}
        problems = [*_unknown(overrides), *_wrong(settings)]
        if problems:
            raise SpecError("bad parameters", problems)
        return settings

    # The action

    def _execute(self, handle: ServerGoalHandle) -> RunPolicy.Result:
        """Run a goal, in a thread of the executor."""
        try:
            goal = read_goal(
                handle.request,
                default_enders=self._default_enders,
                default_limit_s=self._default_limit_s,
            )
        except SpecError as error:
            return self._refuse(handle, TaskEnd(Termination.REJECTED, str(error)))
        interrupt = Interrupt()
        why_not = self._slot.enter(interrupt)
        if why_not:
            kind = Termination.REJECTED if why_not == BUSY else Termination.CANCELLED
            return self._refuse(handle, TaskEnd(kind, why_not))
        self._reporter.begin(goal)
        try:
            result = self._run(goal, handle, interrupt)
            self._reporter.end(result.task)
        finally:
            self._reporter.rest()  # after a mistake in this node, too: the policy node stops then
            self._slot.leave()
        return self._finish(handle, result)

    def _run(
        self, goal: TaskGoal, handle: ServerGoalHandle, interrupt: Interrupt
    ) -> RunPolicy.Result:
        loop = RunLoop(
            goal,
            ReportedGoal(handle, self._reporter),
            interrupt,
            self._nodes,
            self._watch_settings,
            ends_on_takeover=self._ends_on_takeover,
            now_s=self._now_s,
        )
        run = TaskRun(goal, self._nodes, loop, now_s=self._now_s, logger=self.get_logger())
        return run.run()

    def _refuse(self, handle: ServerGoalHandle, end: TaskEnd) -> RunPolicy.Result:
        task = TaskResult(
            termination=end.termination,
            outcome=end.outcome,
            reason=end.reason,
            round_trip_p50_s=math.nan,
            round_trip_p99_s=math.nan,
        )
        return self._finish(handle, RunPolicy.Result(task=task))

    def _finish(self, handle: ServerGoalHandle, result: RunPolicy.Result) -> RunPolicy.Result:
        """Give the goal the state of its result."""
        termination, outcome = Termination(result.task.termination), Outcome(result.task.outcome)
        self.get_logger().info(f"{termination.text}, {outcome.text}: {result.task.reason}")
        if handle.is_cancel_requested and termination is Termination.CANCELLED:
            handle.canceled()
        elif termination is Termination.ENDER and outcome is not Outcome.FAILURE:
            handle.succeed()
        else:
            handle.abort()
        return result

    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)


def _unknown(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Name what is not a parameter; the file of a robot has those of the other two nodes, too."""
    known = [parameter.name for parameter in TASK_PARAMETERS]
    for name in unknown_names(overrides):
        if name not in known:
            yield f"{name}: no such parameter{did_you_mean(name, known)}"


def _wrong(settings: Mapping[str, Any]) -> Iterator[str]:
    for parameter in TASK_PARAMETERS:
        problem = value_problem(parameter, settings[parameter.name])
        if problem:
            yield f"{parameter.name}: {problem}"
            continue
    for text in settings["default_enders"]:
        try:
            read_ender(ender_message(text))
        except ValueError as error:
            yield f"default_enders: {text}: {error}"


def main(args: list[str] | None = None) -> int:
    """Run the task node until SIGINT, SIGTERM or the end of `end_with_pid`.

    A goal that runs then is ended, and the robot stopped, before the process ends.

    Returns:
        The exit status: 0 after an orderly end, `WRONG_ARGUMENTS` for wrong arguments or
        parameters.
    """
    if not init_ros(args):
        return WRONG_ARGUMENTS
    with stop_signals() as stopping:
        try:
            node = TaskNode()
        except SpecError as error:
            get_logger("task_node").fatal(str(error))
            rclpy.try_shutdown()
            return WRONG_ARGUMENTS
        parent = ParentWatch(node.end_with_pid)
        executor = MultiThreadedExecutor(THREADS)
        executor.add_node(node)
        try:
            while not (stopping.is_set() or parent.has_ended()):
                executor.spin_once(timeout_sec=POLL_S)
            node.end_tasks("the task node was shut down")
            while node.is_busy and not stopping.is_repeated():
                executor.spin_once(timeout_sec=POLL_S)
            executor.spin_once(timeout_sec=POLL_S)  # sends the result
        finally:
            executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
            rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
