# SPDX-License-Identifier: Apache-2.0
"""A client of an action server whose goals go on from each other, such as trajectories."""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionClient

from gr00t_ros.interfaces.goal_client import Goal, GoalClient, cancel_goal
from gr00t_ros.interfaces.interface import CommandInterface


class GoalChain(GoalClient):
    """Sends goals, each of which begins where the one before is planned to be.

    Where one of them is not carried out, all newer ones are unwanted: they begin elsewhere than the
    robot is. They are canceled, and none is sent until `resume`.

    Args:
        client, name, interface: As for `GoalClient`.
    """

    def __init__(
        self, client: ActionClient[Any, Any, Any], name: str, interface: CommandInterface
    ) -> None:
        super().__init__(client, name, interface)
        self._failure = ""
        self._is_reported = False
        self._suspicion = ""  # how a goal ended, unless the one on its way has replaced it

    def send(self, goal: Any) -> None:
        """Send a goal, unless one of those before has failed."""
        if not self._failure:
            super().send(goal)

    def take_failure(self) -> str:
        """Why a goal was not carried out, reported once; empty where none has failed."""
        with self._lock:
            unwanted: list[Goal] = []
            if self._is_overdue():
                unwanted = self._break(f"not answered by {self.name}")
                self._answered = self._sent  # a late answer cancels it
            is_new, self._is_reported = not self._is_reported, bool(self._failure)
            failure = self._failure if is_new else ""
        for goal in unwanted:
            cancel_goal(goal)
        return failure

    def resume(self) -> None:
        """Send goals again after a failure that was reported."""
        with self._lock:
            if self._is_reported:
                self._failure, self._is_reported = "", False

    def _replaced_by(self, goal: Goal) -> list[Goal]:
        self._suspicion = ""
        return super()._replaced_by(goal)

    def _on_failure(self, goal: Goal, why: str, *, is_blamed: bool = False) -> list[Goal]:
        newest = self._in_progress
        is_replaced = newest is not None and newest.number > goal.number
        if is_replaced and not is_blamed:
            return []
        if goal.handle is not None and not is_blamed and any(map(self._awaits, self._goals)):
            # The server may have accepted the goal on its way, and the answer comes after this.
            self._suspicion = why
            return []
        return self._break(self._suspicion or why)

    def _break(self, why: str) -> list[Goal]:
        """Want none of the goals any more; returns what to cancel."""
        self._failure, self._suspicion = self._failure or why, ""
        return self._unwant()
