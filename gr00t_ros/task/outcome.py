# SPDX-License-Identifier: Apache-2.0
"""How a task ended: what ended it, and apart from that whether it did what was asked."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from gr00t_ros.msg import TaskResult


class Termination(IntEnum):
    """What ended a task; the numbers are those of `TaskResult`."""

    ENDER = TaskResult.TERMINATION_ENDER
    TIME_LIMIT = TaskResult.TERMINATION_TIME_LIMIT
    CANCELLED = TaskResult.TERMINATION_CANCELLED
    TAKEN_OVER = TaskResult.TERMINATION_TAKEN_OVER
    FAULT = TaskResult.TERMINATION_FAULT
    REJECTED = TaskResult.TERMINATION_REJECTED

    @property
    def text(self) -> str:
        """The name as people read it."""
        return self.name.lower().replace("_", " ")


class Outcome(IntEnum):
    """Whether a task did what was asked; the numbers are those of `TaskResult`."""

    UNKNOWN = TaskResult.OUTCOME_UNKNOWN
    SUCCESS = TaskResult.OUTCOME_SUCCESS
    FAILURE = TaskResult.OUTCOME_FAILURE

    @property
    def text(self) -> str:
        """The name as people read and write it."""
        return self.name.lower()

    @classmethod
    def of_enders(cls, outcomes: Collection[Outcome]) -> Outcome:
        """The outcome of a subtask whose enders ended it: what any of them can tell."""
        return next((o for o in (cls.FAILURE, cls.SUCCESS) if o in outcomes), cls.UNKNOWN)

    @classmethod
    def of_subtasks(cls, outcomes: Collection[Outcome]) -> Outcome:
        """The outcome of a task: a success only if all of its subtasks are known to be one."""
        worst = next((o for o in (cls.FAILURE, cls.UNKNOWN) if o in outcomes), cls.SUCCESS)
        return worst if outcomes else cls.UNKNOWN


class TaskEnd(Exception):  # noqa: N818 - an end is not an error
    """The end of a task or a subtask.

    Args:
        termination: What ended it.
        outcome: Whether it did what was asked.
        reason: Both in words.
    """

    def __init__(
        self, termination: Termination, reason: str, outcome: Outcome = Outcome.UNKNOWN
    ) -> None:
        super().__init__(reason)
        self.termination = termination
        self.outcome = outcome
        self.reason = reason
