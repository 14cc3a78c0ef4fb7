# SPDX-License-Identifier: Apache-2.0
"""One run of a task, from the goal to the result, in one thread.

Whatever ends it is raised as `TaskEnd`, wherever the run is at that moment; then the robot is
stopped, and the result is given.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from rclpy.impl.rcutils_logger import RcutilsLogger

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskResult
from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.ender import Ender
from gr00t_ros.task.node_watch import Counts
from gr00t_ros.task.outcome import Outcome, TaskEnd, Termination
from gr00t_ros.task.policy_override import PolicyOverride
from gr00t_ros.task.robot_stop import stop_robot
from gr00t_ros.task.run_loop import ANSWER_S, RunLoop
from gr00t_ros.task.subtask_run import SubtaskRun, percentile
from gr00t_ros.task.task_goal import SubtaskGoal, TaskGoal

INSTRUCT_AGAIN_S = 0.5  # an instruction that has no effect yet is published again
# Later than the answer may come: a status from before, and one of each stop.
SETTLED_STATUSES = 3
LOAD_S = 600.0  # for an answer of a policy node that has to load a model


class TaskRun:
    """Runs one goal; `run` returns when the robot has been stopped.

    Args:
        goal: What the client asks for.
        nodes: The policy node and the control node.
        loop: Waits, and raises what ends the task.
        now_s: The clock of the task, s.
        logger: Logs what nobody expects.
    """

    def __init__(
        self,
        goal: TaskGoal,
        nodes: DrivenNodes,
        loop: RunLoop,
        *,
        now_s: Callable[[], float],
        logger: RcutilsLogger,
    ) -> None:
        self._goal = goal
        self._nodes = nodes
        self._loop = loop
        self._now_s = now_s
        self._logger = logger
        self._override = PolicyOverride(nodes, loop.ask)
        self._subtask: SubtaskRun | None = None
        self._counts = Counts.of(loop.watch)
        self._results: list[TaskResult] = []

    def run(self) -> RunPolicy.Result:
        """Run the goal to its end, and stop the robot."""
        enders = [[ender.make() for ender in subtask.enders] for subtask in self._goal.subtasks]
        try:
            self._nodes.listen_for([ender for group in enders for ender in group])
            end = self._run_to_the_end(enders)
        except TaskEnd as ended:
            end = ended
        except Exception as error:  # an ender of the user's may raise anything
            self._logger.error(f"the task failed:\n{traceback.format_exc()}")
            end = TaskEnd(Termination.FAULT, f"{type(error).__name__}: {error}")
        self._nodes.listen_for([])
        result = self._result(end)
        problems = list(filter(None, (stop_robot(self._loop, self._nodes), self._restore())))
        self._nodes.close_inbox()
        result.task.reason = "; ".join((result.task.reason, *problems))
        return result

    def _run_to_the_end(self, enders: Sequence[Sequence[Ender]]) -> TaskEnd:
        self._start()
        for index, (subtask, group) in enumerate(zip(self._goal.subtasks, enders, strict=True)):
            end = self._run_subtask(subtask, group, index)
            has_failed = end.outcome is Outcome.FAILURE or end.termination is Termination.TIME_LIMIT
            if has_failed and not self._goal.goes_on:
                break
        outcomes = [Outcome(result.outcome) for result in self._results]
        return TaskEnd(end.termination, end.reason, Outcome.of_subtasks(outcomes))

    def _start(self) -> None:
        """Make the policy node infer by the first instruction."""
        loop, nodes = self._loop, self._nodes
        watch = loop.watch
        loop.wait(lambda: watch.policy is not None and watch.control is not None)
        self._counts = Counts.of(watch)
        if self._goal.policy:
            self._override.apply(self._goal.policy)
        first = self._goal.subtasks[0].instruction
        self._instruct(first, until=lambda: watch.policy.instruction == first)
        is_configured = watch.policy.streams and not self._goal.policy
        answer_s = ANSWER_S if is_configured else LOAD_S
        if nodes.has_unanswered_stop:
            self._settle_stop(answer_s)
        if is_configured:
            loop.require(nodes.reset)
        loop.require(nodes.start, answer_s)

    def _settle_stop(self, answer_s: float) -> None:
        """Have the policy node carry out a stop of an earlier goal, which would undo the start.

        The requests to one service arrive in order: that of another stop is behind it.
        """
        watch = self._loop.watch
        watch.allow_stops(True)
        self._loop.require(self._nodes.stop, answer_s)
        self._nodes.has_unanswered_stop = False
        settled = watch.policy_count + SETTLED_STATUSES
        self._loop.wait(lambda: watch.policy_count >= settled, ANSWER_S)
        self._loop.wait(lambda: watch.policy_is_stopped, ANSWER_S)
        watch.allow_stops(False)

    def _run_subtask(self, goal: SubtaskGoal, enders: Sequence[Ender], index: int) -> TaskEnd:
        """Run one subtask to its end."""
        run = SubtaskRun(goal, enders, self._now_s(), Counts.of(self._loop.watch))
        self._subtask = run
        self._loop.begin_subtask(run, index)
        self._instruct(
            goal.instruction, until=lambda: run.has_chunks or run.has_ended(self._now_s())
        )
        self._loop.wait(lambda: run.has_ended(self._now_s()))
        self._finish_subtask(run.ended)
        return run.ended

    def _instruct(self, instruction: str, *, until: Callable[[], bool]) -> None:
        """Publish an instruction, again and again until it has an effect."""
        while not until():
            self._nodes.instruct(instruction)
            self._loop.wait(until, INSTRUCT_AGAIN_S)

    def _finish_subtask(self, end: TaskEnd) -> None:
        if self._subtask is not None:
            counts = Counts.of(self._loop.watch)
            self._results.append(self._subtask.result(end, self._now_s(), counts))
            self._subtask = None

    def _result(self, end: TaskEnd) -> RunPolicy.Result:
        self._finish_subtask(end)
        counts = Counts.of(self._loop.watch).since(self._counts)
        round_trips_s = self._loop.round_trips_s
        last = self._results[-1] if self._results else self._goal.subtasks[0]
        task = TaskResult(
            instruction=last.instruction,
            termination=end.termination,
            outcome=end.outcome,
            reason=end.reason,
            elapsed_s=self._loop.elapsed_s,
            chunks=len(round_trips_s),
            round_trip_p50_s=percentile(round_trips_s, 50),
            round_trip_p99_s=percentile(round_trips_s, 99),
            inference_errors=counts.inference_errors,
            holds=counts.holds,
            limiter_hits=counts.limiter_hits,
        )
        return RunPolicy.Result(task=task, subtasks=self._results)

    def _restore(self) -> str:
        """Give the policy node its own parameters again; returns what went wrong."""
        try:
            self._override.restore()
        except TaskEnd as failed:
            return f"the policy node keeps the parameters of the goal: {failed.reason}"
        return ""
