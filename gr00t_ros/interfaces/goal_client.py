# SPDX-License-Identifier: Apache-2.0
"""A client of an action server that has one goal at a time: a newer one replaces it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action.client import ClientGoalHandle
from rclpy.task import Future

from gr00t_ros.interfaces.interface import CommandInterface
from gr00t_ros.node.shared_action_client import SharedActionClient

ANSWER_S = 2.0  # a server that has not answered a goal for this long is dead
ENDINGS = {
    GoalStatus.STATUS_ABORTED: "aborted",
    GoalStatus.STATUS_CANCELED: "canceled",
}


@dataclass(slots=True)
class Goal:
    """One goal on its way. `text` says how far it has come."""

    number: int
    sent_s: float
    handle: ClientGoalHandle[Any, Any, Any] | None = None
    is_answered: bool = False
    is_over: bool = False
    is_unwanted: bool = False
    text: str = "sent"


class GoalClient:
    """Sends goals to an action server; safe between threads.

    A goal that is accepted replaces the one in progress, which is then canceled, unless the server
    has preempted it by itself.

    Args:
        client: Its node spins in another thread than those that call this object.
        name: The resolved name of the action.
        interface: Says how a goal that was carried out ended.
    """

    def __init__(self, client: SharedActionClient, name: str, interface: CommandInterface) -> None:
        self._client = client
        self._interface = interface
        self.name = name
        self._lock = threading.Lock()
        self._newest: Goal | None = None
        self._in_progress: Goal | None = None  # the newest that was accepted
        self._goals: list[Goal] = []  # that may be carried out still
        self._sent = 0
        self._answered = 0  # the newest goal that was answered, or is not waited for any more

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
    def is_refused(self) -> bool:
        """Whether the server has rejected the newest goal, or not answered it in time."""
        goal = self._newest
        if goal is None or goal.handle is not None:
            return False
        return goal.is_answered or _is_overdue(goal)

    @property
    def awaits_answer(self) -> bool:
        """Whether a goal was sent of which nobody knows whether the server has it."""
        with self._lock:
            return any(map(self._awaits, self._goals))

    @property
    def is_idle(self) -> bool:
        """Whether no goal is on its way or in progress."""
        with self._lock:
            is_over = self._in_progress is None or self._in_progress.is_over
            return is_over and not any(map(self._awaits, self._goals))

    @property
    def problem(self) -> str:
        """What is wrong with the server; empty where nothing is."""
        if not self.is_server_there:
            return f"no action server at {self.name}"
        with self._lock:
            is_dead = self._is_overdue()
        return f"the action server at {self.name} does not answer" if is_dead else ""

    def send(self, goal: Any) -> None:
        """Send a goal."""
        with self._lock:
            self._forget_lost()
            self._sent += 1
            one = self._newest = Goal(self._sent, time.monotonic())
            self._goals.append(one)
        future = self._client.send_goal_async(goal)
        future.add_done_callback(partial(self._on_answer, one))

    def cancel(self) -> None:
        """Cancel what is in progress, and what will be accepted."""
        with self._lock:
            goals = self._unwant()
        for goal in goals:
            cancel_goal(goal)

    def destroy(self) -> None:
        """Destroy the client; the server may go on with its goal."""
        self._client.destroy()

    def _on_answer(self, goal: Goal, future: Future[ClientGoalHandle[Any, Any, Any]]) -> None:
        handle = future.result()
        with self._lock:
            goal.is_answered, self._answered = True, max(self._answered, goal.number)
            if handle is None or not handle.accepted:
                self._end(goal, f"rejected by {self.name}")
                unwanted = [] if goal.is_unwanted else self._on_failure(goal, goal.text)
            else:
                goal.handle, goal.text = handle, "in progress"
                unwanted = self._replaced_by(goal)
        if goal.handle is not None:
            goal.handle.get_result_async().add_done_callback(partial(self._on_result, goal))
        for one in unwanted:
            cancel_goal(one)

    def _replaced_by(self, goal: Goal) -> list[Goal]:
        """Put a goal that was accepted in the place of the one before; returns what to cancel."""
        before = self._in_progress
        if before is not None and before.number > goal.number:
            return [goal]
        self._in_progress = goal
        replaced = [] if before is None else [before]
        return [*replaced, goal] if goal.is_unwanted else replaced

    def _on_result(self, goal: Goal, future: Future[Any]) -> None:
        response = future.result()
        with self._lock:
            if response is None:
                self._end(goal, "ended without a result")
                return
            ending = ENDINGS.get(response.status, "")
            outcome = self._interface.outcome(response.result)
            self._end(goal, ": ".join(filter(None, (ending, outcome))))
            unwanted: list[Goal] = []
            # A controller that is deactivated ends its goal by itself.
            if ending and not goal.is_unwanted:
                is_blamed = self._interface.has_failed(response.result)
                unwanted = self._on_failure(goal, goal.text, is_blamed=is_blamed)
        for one in unwanted:
            cancel_goal(one)

    def _on_failure(self, goal: Goal, why: str, *, is_blamed: bool = False) -> list[Goal]:
        """Called with the lock held for a goal that was rejected, aborted or canceled by itself.

        Args:
            goal: It is over.
            why: How it has ended.
            is_blamed: Whether its result says that it has failed: it was not just replaced.

        Returns:
            What to cancel.
        """
        return []

    def _end(self, goal: Goal, text: str) -> None:
        goal.is_over, goal.text = True, text
        self._goals = [one for one in self._goals if one is not goal]

    def _unwant(self) -> list[Goal]:
        """Want none of the goals that may be carried out still; returns them."""
        for goal in self._goals:
            goal.is_unwanted = True
        return list(self._goals)

    def _awaits(self, goal: Goal) -> bool:
        """Whether a goal is to be answered: a server that has answered a newer one has lost it."""
        return not goal.is_answered and goal.number > self._answered

    def _is_overdue(self) -> bool:
        """Whether the server should have answered a goal by now."""
        return any(self._awaits(goal) and _is_overdue(goal) for goal in self._goals)

    def _forget_lost(self) -> None:
        """Keep no account of goals that were not answered in time; a late answer cancels them."""
        for goal in [one for one in self._goals if not one.is_answered and _is_overdue(one)]:
            goal.is_unwanted = True
            self._goals.remove(goal)


def _is_overdue(goal: Goal) -> bool:
    return time.monotonic() - goal.sent_s > ANSWER_S


def cancel_goal(goal: Goal) -> None:
    """Ask to cancel a goal in progress; a server that has ended it already says no."""
    if goal.handle is not None and not goal.is_over:
        goal.handle.cancel_goal_async()
