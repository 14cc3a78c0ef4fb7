# SPDX-License-Identifier: Apache-2.0
"""A client of an action server that has one goal at a time: a newer one replaces it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.task import Future

ANSWER_S = 2.0  # a server that has not answered a goal for this long is dead
ENDINGS = {
    GoalStatus.STATUS_ABORTED: "aborted",
    GoalStatus.STATUS_CANCELED: "canceled",
}


@dataclass(slots=True)
class _Goal:
    """One goal on its way. `text` says how far it has come."""

    number: int
    sent_s: float
    handle: ClientGoalHandle[Any, Any, Any] | None = None
    is_answered: bool = False
    is_over: bool = False
    has_failed: bool = False
    is_unwanted: bool = False
    text: str = "sent"


class GoalClient:
    """Sends goals to an action server; safe between threads.

    A goal that is accepted replaces the one in progress, which is then canceled, unless the server
    has preempted it by itself.

    Args:
        client: Its node spins in another thread than those that call this object.
        name: The resolved name of the action.
        outcome: Says how a goal that was carried out ended, given its result.
    """

    def __init__(
        self, client: ActionClient[Any, Any, Any], name: str, outcome: Callable[[Any], str]
    ) -> None:
        self._client = client
        self._outcome = outcome
        self.name = name
        self._lock = threading.Lock()
        self._newest: _Goal | None = None
        self._in_progress: _Goal | None = None
        self._sent = 0
        self._unanswered_since_s: float | None = None  # since then no goal was answered

    @property
    def goals_sent(self) -> int:
        """The number of goals sent so far."""
        return self._sent

    @property
    def is_server_there(self) -> bool:
        """Whether an action server of this name and type is there."""
        return bool(self._client.server_is_ready())

    @property
    def text(self) -> str:
        """How the newest goal stands or ended; empty before the first."""
        return self._newest.text if self._newest is not None else ""

    @property
    def failure(self) -> str:
        """Why the newest goal was not carried out; empty where it was, or still is."""
        goal = self._newest
        if goal is None or goal.is_answered:
            return goal.text if goal is not None and goal.has_failed else ""
        return f"not answered by {self.name}" if _is_overdue(goal.sent_s) else ""

    @property
    def is_refused(self) -> bool:
        """Whether the server has rejected the newest goal, or not answered it in time."""
        goal = self._newest
        return bool(self.failure) and goal is not None and goal.handle is None

    @property
    def is_idle(self) -> bool:
        """Whether no goal is on its way or in progress."""
        goals = (self._newest, self._in_progress)
        return all(goal is None or goal.is_over for goal in goals)

    @property
    def problem(self) -> str:
        """What is wrong with the server; empty where nothing is."""
        if not self.is_server_there:
            return f"no action server at {self.name}"
        since_s = self._unanswered_since_s
        if since_s is None or not _is_overdue(since_s):
            return ""
        return f"the action server at {self.name} does not answer"

    def send(self, goal: Any) -> None:
        """Send a goal."""
        with self._lock:
            self._sent += 1
            one = self._newest = _Goal(self._sent, time.monotonic())
            if self._unanswered_since_s is None:
                self._unanswered_since_s = one.sent_s
        future = self._client.send_goal_async(goal)
        future.add_done_callback(partial(self._on_answer, one))

    def give_up_unanswered(self) -> None:
        """End a newest goal that nobody has answered in time; a late answer cancels it."""
        with self._lock:
            goal, failure = self._newest, self.failure
            if goal is None or goal.is_answered or not failure:
                return
            goal.is_answered = goal.is_over = goal.has_failed = goal.is_unwanted = True
            goal.text, self._unanswered_since_s = failure, None

    def cancel(self) -> None:
        """Cancel what is in progress, and what will be accepted."""
        with self._lock:
            goals = {id(g): g for g in (self._newest, self._in_progress) if g is not None}
            for goal in goals.values():
                goal.is_unwanted = True
        for goal in goals.values():
            _cancel(goal)

    def destroy(self) -> None:
        """Destroy the client; the server may go on with its goal."""
        self._client.destroy()

    def _on_answer(self, goal: _Goal, future: Future[ClientGoalHandle[Any, Any, Any]]) -> None:
        handle = future.result()
        with self._lock:
            goal.is_answered, self._unanswered_since_s = True, None
            if handle is None or not handle.accepted:
                goal.is_over = goal.has_failed = True
                goal.text = f"rejected by {self.name}"
                return
            goal.handle, goal.text, goal.is_over = handle, "in progress", False
            is_outdated = self._in_progress is not None and self._in_progress.number > goal.number
            unwanted = goal if is_outdated else self._in_progress
            if not is_outdated:
                self._in_progress = goal
        handle.get_result_async().add_done_callback(partial(self._on_result, goal))
        if goal.is_unwanted:
            _cancel(goal)
        if unwanted is not None:
            _cancel(unwanted)

    def _on_result(self, goal: _Goal, future: Future[Any]) -> None:
        response = future.result()
        with self._lock:
            goal.is_over = True
            if response is None:
                goal.text = "ended without a result"
                return
            ending = ENDINGS.get(response.status, "")
            # A controller that is deactivated cancels its goal by itself.
            was_canceled = response.status == GoalStatus.STATUS_CANCELED and not goal.is_unwanted
            goal.has_failed = response.status == GoalStatus.STATUS_ABORTED or was_canceled
            goal.text = ": ".join(filter(None, (ending, self._outcome(response.result))))


def _is_overdue(sent_s: float) -> bool:
    return time.monotonic() - sent_s > ANSWER_S


def _cancel(goal: _Goal) -> None:
    """Ask to cancel a goal in progress; a server that has ended it already says no."""
    if goal.handle is not None and not goal.is_over:
        goal.handle.cancel_goal_async()
