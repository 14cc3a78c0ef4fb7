# SPDX-License-Identifier: Apache-2.0
"""One subtask while it runs: its enders, its time limit and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gr00t_ros.msg import ActionChunk, EnderProgress, TaskResult
from gr00t_ros.task.ender import Ender, Reading
from gr00t_ros.task.node_watch import Counts
from gr00t_ros.task.outcome import Outcome, TaskEnd, Termination
from gr00t_ros.task.task_goal import SubtaskGoal


class SubtaskRun:
    """Says when a subtask is over.

    Args:
        goal: The subtask.
        enders: The enders of the goal, made for this run, in order.
        started_s: The time of its start on the clock of the task, s.
        counts: The counts of both nodes at its start.
    """

    def __init__(
        self, goal: SubtaskGoal, enders: Sequence[Ender], started_s: float, counts: Counts
    ) -> None:
        self.goal = goal
        self._enders = list(enders)
        self._started_s = started_s
        self._counts = counts
        self._round_trips_s: list[float] = []
        self.chunk_id = 0
        self.ended: TaskEnd | None = None

    @property
    def has_chunks(self) -> bool:
        """Whether the policy has answered to the instruction."""
        return bool(self._round_trips_s)

    @property
    def round_trip_s(self) -> float:
        """Duration of the newest call to the policy, s; NaN before the first."""
        return self._round_trips_s[-1] if self._round_trips_s else math.nan

    def elapsed_s(self, now_s: float) -> float:
        """Time since the start, s."""
        return max(now_s - self._started_s, 0.0)

    def receive(self, ender: Ender, message: Any, now_s: float) -> None:
        """Give a message of a topic to the ender that asked for it."""
        if ender in self._enders:
            ender.receive(message, self.elapsed_s(now_s))

    def receive_chunk(self, chunk: ActionChunk, now_s: float) -> None:
        """Take a chunk that was computed for this instruction."""
        self._round_trips_s.append(chunk.round_trip_s)
        self.chunk_id = chunk.chunk_id
        for ender in self._enders:
            ender.receive_chunk(chunk, self.elapsed_s(now_s))

    def progress(self, now_s: float) -> list[EnderProgress]:
        """How near each ender is to its end."""
        return [
            EnderProgress(ender=goal.text, progress=reading.progress, text=reading.text)
            for goal, reading in zip(self.goal.enders, self._readings(now_s), strict=True)
        ]

    def has_ended(self, now_s: float) -> bool:
        """Whether the subtask is over; from then on `ended` says how."""
        self.ended = self.ended or self._end(now_s)
        return self.ended is not None

    def _end(self, now_s: float) -> TaskEnd | None:
        """How the subtask has ended; None while it goes on."""
        readings = self._readings(now_s) if self.has_chunks else []
        ended = [index for index, reading in enumerate(readings) if reading.is_satisfied]
        enough = len(readings) if self.goal.needs_all else 1
        if readings and len(ended) >= enough:
            outcomes = [self.goal.enders[index].outcome for index in ended]
            texts = (f"{self.goal.enders[i].text}: {readings[i].text}" for i in ended)
            return TaskEnd(Termination.ENDER, "; ".join(texts), Outcome.of_enders(outcomes))
        if self.elapsed_s(now_s) < self.goal.time_limit_s:
            return None
        return self.timed_out(f"the time limit of {self.goal.time_limit_s:g} s has passed", now_s)

    def timed_out(self, reason: str, now_s: float) -> TaskEnd:
        """The end by a time limit: a failure where an ender could have seen success."""
        could_succeed = any(ender.outcome is Outcome.SUCCESS for ender in self.goal.enders)
        outcome = Outcome.FAILURE if could_succeed else Outcome.UNKNOWN
        readings = "; ".join(reading.text for reading in self._readings(now_s))
        return TaskEnd(
            Termination.TIME_LIMIT, f"{reason}: {readings}" if readings else reason, outcome
        )

    def result(self, end: TaskEnd, now_s: float, counts: Counts) -> TaskResult:
        """The result of the subtask.

        Args:
            end: How it ended.
            now_s: The present on the clock of the task, s.
            counts: The counts of both nodes at its end.
        """
        during = counts.since(self._counts)
        return TaskResult(
            instruction=self.goal.instruction,
            termination=end.termination,
            outcome=end.outcome,
            reason=end.reason,
            elapsed_s=self.elapsed_s(now_s),
            chunks=len(self._round_trips_s),
            round_trip_p50_s=percentile(self._round_trips_s, 50),
            round_trip_p99_s=percentile(self._round_trips_s, 99),
            inference_errors=during.inference_errors,
            holds=during.holds,
            limiter_hits=during.limiter_hits,
        )

    def _readings(self, now_s: float) -> list[Reading]:
        return [ender.reading(self.elapsed_s(now_s)) for ender in self._enders]


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile; NaN of no values."""
    return float(np.percentile(values, percent)) if values else math.nan
