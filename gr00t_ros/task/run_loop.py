# SPDX-License-Identifier: Apache-2.0
"""Waits for things while a task runs, and raises `TaskEnd` when something ends the task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from queue import Empty
from typing import Any, Protocol

from std_srvs.srv import Trigger

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus
from gr00t_ros.node.opposite_clients import ServiceClient
from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.ender import Ender
from gr00t_ros.task.goal_slot import Interrupt
from gr00t_ros.task.node_watch import NodeWatch, WatchSettings
from gr00t_ros.task.outcome import TaskEnd, Termination
from gr00t_ros.task.subtask_run import SubtaskRun
from gr00t_ros.task.task_goal import TaskGoal

POLL_S = 0.02  # between two looks at whether the client cancels
FEEDBACK_PERIOD_S = 0.25
ANSWER_S = 10.0  # for an answer of a node


class GoalHandle(Protocol):
    """What a run needs of rclpy's goal handle."""

    @property
    def is_cancel_requested(self) -> bool: ...

    def publish_feedback(self, feedback: RunPolicy.Feedback) -> None: ...


class RunLoop:
    """Takes the messages of one run, in the thread that runs the task.

    Args:
        goal: What the client asks for.
        handle: Says whether the client cancels, and takes the feedback.
        interrupt: Says whether something else in this node ends the task.
        nodes: The policy node and the control node.
        settings: When the task ends for a fault of theirs.
        ends_on_takeover: Whether the task ends when a person takes over.
        now_s: The clock of the task, s; it may stand still in simulation.

    Attributes:
        watch: What both nodes say.
        round_trips_s: Duration of every call to the policy for this task, s.
    """

    def __init__(
        self,
        goal: TaskGoal,
        handle: GoalHandle,
        interrupt: Interrupt,
        nodes: DrivenNodes,
        settings: WatchSettings,
        *,
        ends_on_takeover: bool,
        now_s: Callable[[], float],
    ) -> None:
        self._goal = goal
        self._handle = handle
        self._inbox = nodes.open_inbox()
        self._ends_on_takeover = ends_on_takeover
        self._now_s = now_s
        self._started_s = now_s()
        self._interrupt = interrupt
        self._is_stopping = False
        self._feedback_due_s = 0.0
        self._subtask: SubtaskRun | None = None
        self._subtask_index = 0
        self.watch = NodeWatch(settings, time.monotonic())
        self.round_trips_s: list[float] = []

    @property
    def elapsed_s(self) -> float:
        """Time since the goal started, s."""
        return max(self._now_s() - self._started_s, 0.0)

    def begin_subtask(self, subtask: SubtaskRun, index: int) -> None:
        """Give messages to this subtask from now on."""
        self._subtask, self._subtask_index = subtask, index
        self.watch.start(time.monotonic())

    def begin_stopping(self) -> None:
        """Raise nothing any more: the end is decided, and the robot is brought to rest."""
        self._is_stopping = True
        self._subtask = None  # an ender of a user's that raises must not keep the robot moving
        self._feedback_due_s = 0.0
        self._publish_feedback()  # before the stop: whoever starts the robot after it is not a task

    def wait(self, until: Callable[[], bool], timeout_s: float = math.inf) -> bool:
        """Wait for something; returns whether it is so before the time is up.

        Raises:
            TaskEnd: Something has ended the task.
        """
        ends_s = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() >= ends_s:
                return False
            self._take_messages()
            if not self._is_stopping:
                self._raise_end()
            self._publish_feedback()
        return True

    def ask(self, client: ServiceClient, request: Any, timeout_s: float = ANSWER_S) -> Any:
        """Call a service and return its response.

        Raises:
            TaskEnd: It is not there or does not answer, or something has ended the task.
        """
        if not self.wait(client.service_is_ready, timeout_s):
            raise TaskEnd(Termination.FAULT, f"there is no service {client.srv_name}")
        future = client.call_async(request)
        try:
            if not self.wait(future.done, timeout_s):
                problem = f"{client.srv_name} did not answer within {timeout_s:g} s"
                raise TaskEnd(Termination.FAULT, problem)
        except TaskEnd:
            client.remove_pending_request(future)
            raise
        return future.result()

    def require(self, client: ServiceClient, timeout_s: float = ANSWER_S) -> None:
        """Call a Trigger service that has to succeed.

        Raises:
            TaskEnd: It fails or does not answer, or something has ended the task.
        """
        response = self.ask(client, Trigger.Request(), timeout_s)
        if not response.success:
            raise TaskEnd(Termination.FAULT, f"{client.srv_name} failed: {response.message}")

    def _take_messages(self) -> None:
        """Take all messages that have come; wait a moment where there is none."""
        try:
            self._take(*self._inbox.get(timeout=POLL_S))
            while True:
                self._take(*self._inbox.get_nowait())
        except Empty:
            return

    def _take(self, ender: Ender | None, message: Any) -> None:
        if ender is not None:
            if self._subtask is not None and self._subtask.has_chunks:
                self._subtask.receive(ender, message, self._now_s())
        elif isinstance(message, PolicyStatus):
            self.watch.receive_policy(message, time.monotonic())
        elif isinstance(message, ControlStatus):
            self.watch.receive_control(message, time.monotonic())
        elif isinstance(message, ActionChunk) and not (message.stop or self._is_stopping):
            self._take_chunk(message)

    def _take_chunk(self, chunk: ActionChunk) -> None:
        subtask = self._subtask
        if subtask is None:
            return
        self.watch.receive_chunk(chunk)
        if chunk.instruction == subtask.goal.instruction:
            subtask.receive_chunk(chunk, self._now_s())
            self.round_trips_s.append(chunk.round_trip_s)
        elif subtask.has_chunks:
            reason = f"somebody has given another instruction: {chunk.instruction!r}"
            raise TaskEnd(Termination.TAKEN_OVER, reason)

    def _raise_end(self) -> None:
        """Raise the end of the task, if something from outside has ended it."""
        if self._handle.is_cancel_requested:
            raise TaskEnd(Termination.CANCELLED, "cancelled by the client")
        if self._interrupt.reason:
            raise TaskEnd(Termination.CANCELLED, self._interrupt.reason)
        if self.watch.human_drives and self._ends_on_takeover:
            raise TaskEnd(Termination.TAKEN_OVER, "a person has taken over")
        if self.elapsed_s >= self._goal.time_limit_s:
            raise self._timed_out()
        fault = self._fault()
        if fault:
            raise TaskEnd(Termination.FAULT, fault)

    def _fault(self) -> str:
        now_s = time.monotonic()
        if self._subtask is not None:
            return self.watch.fault(now_s)
        # Before the first subtask the policy node may be silent for long: it loads a model.
        is_loading = self.watch.policy is not None
        policy_fault = self.watch.stop_fault() if is_loading else self.watch.policy_fault(now_s)
        return policy_fault or self.watch.control_fault(now_s)

    def _timed_out(self) -> TaskEnd:
        reason = f"the time limit of the goal, {self._goal.time_limit_s:g} s, has passed"
        if self._subtask is None:
            return TaskEnd(Termination.TIME_LIMIT, reason)
        return self._subtask.timed_out(reason, self._now_s())

    def _publish_feedback(self) -> None:
        now_s = time.monotonic()
        if now_s < self._feedback_due_s:
            return
        self._feedback_due_s = now_s + FEEDBACK_PERIOD_S
        feedback = RunPolicy.Feedback(
            state=self._feedback_state(),
            reason=self.watch.why_not_moving(),
            subtask=self._subtask_index,
            subtask_count=len(self._goal.subtasks),
            instruction=self._goal.subtasks[self._subtask_index].instruction,
            elapsed_s=self.elapsed_s,
            round_trip_s=math.nan,
        )
        if self._subtask is not None:
            feedback.subtask_elapsed_s = self._subtask.elapsed_s(self._now_s())
            feedback.chunk_id = self._subtask.chunk_id
            feedback.round_trip_s = self._subtask.round_trip_s
            feedback.enders = self._subtask.progress(self._now_s())
        self._handle.publish_feedback(feedback)

    def _feedback_state(self) -> int:
        if self._is_stopping:
            return RunPolicy.Feedback.STATE_STOPPING
        if self._subtask is None or not self.watch.has_moved:
            return RunPolicy.Feedback.STATE_STARTING
        if self.watch.is_moving:
            return RunPolicy.Feedback.STATE_RUNNING
        return RunPolicy.Feedback.STATE_WAITING
