# SPDX-License-Identifier: Apache-2.0
"""How the tasks of a robot have ended, over the runs of its task node. Pure."""

from __future__ import annotations

from collections import Counter

from gr00t_ros.msg import TaskCount, TaskStatus
from gr00t_ros.task.outcome import Outcome, Termination

MAX_RUNS = 64  # of the task node; those that come after are not counted


class TaskTally:
    """Counts tasks by outcome; each run of the task node counts its own from 0."""

    def __init__(self) -> None:
        self._runs: dict[str, Counter[str]] = {}

    def update(self, status: TaskStatus) -> None:
        """Take a status of the task node."""
        if status.source in self._runs or len(self._runs) < MAX_RUNS:
            counts: Counter[str] = Counter()
            for count in status.counts:
                counts[outcome_name(count)] += count.count
            # A new dict, because the worker reads the old one in its own thread.
            self._runs = {**self._runs, status.source: counts}

    def outcomes(self) -> dict[str, int]:
        """The number of tasks by outcome."""
        return dict(sum(self._runs.values(), Counter[str]()))


def outcome_name(count: TaskCount) -> str:
    """The outcome of tasks as a fleet counts it: an unknown one by what ended the task.

    Returns:
        ``success``, ``failure``, ``unknown: cancelled``, …; ``unknown`` for numbers that no task
        node of this version sends.
    """
    try:
        outcome, termination = Outcome(count.outcome), Termination(count.termination)
    except ValueError:
        return Outcome.UNKNOWN.text
    return outcome.text if outcome is not Outcome.UNKNOWN else f"unknown: {termination.text}"
