# SPDX-License-Identifier: Apache-2.0
"""A run of the two nodes as the diagnosis reads it, from a bag or from a recording. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time.

    Args:
        times_s: float64 (N,), ascending, s.
        values: float64 (N, D); NaN where a value is not known.
    """

    times_s: Vector
    values: Vector

    def __len__(self) -> int:
        return len(self.times_s)

    @classmethod
    def of(cls, times_s: Sequence[float], rows: Sequence[Sequence[float]], width: int) -> Series:
        """The series of rows in any order; rows of one instant are counted once."""
        if not times_s:
            return cls(np.empty(0), np.empty((0, width)))
        times, first = np.unique(np.asarray(times_s, np.float64), return_index=True)
        return cls(times, np.asarray(rows, np.float64)[first])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChunk:
    """A chunk of the run.

    Args:
        chunk_id: Its number.
        t0_s: Stamp of its observation, s.
        received_s: When it arrived, s.
        dt_s: Time between two steps, s.
        values: float64 (horizon, D), the columns as in `Run.joints`.
        round_trip_s: From sending the observation to receiving the answer, s; NaN if not known.
        refused: Why the control node refused it; empty if it did not, or if that is not known.
    """

    chunk_id: int
    t0_s: float
    received_s: float
    dt_s: float
    values: Vector
    round_trip_s: float = NAN
    refused: str = ""

    @property
    def end_s(self) -> float:
        """The instant of its last step, s."""
        return self.t0_s + (len(self.values) - 1) * self.dt_s

    def at(self, times_s: Vector) -> Vector:
        """Where it wants the joints, float64 (N, D); NaN before its beginning and after its end."""
        steps_s = self.t0_s + self.dt_s * np.arange(len(self.values))
        columns = [
            np.interp(times_s, steps_s, column, left=np.nan, right=np.nan)
            for column in self.values.T
        ]
        return np.stack(columns, axis=1)


class Activity(Enum):
    """What the control node did."""

    STOPPED = "stopped"
    WAITING = "waiting"
    PLAYING = "playing"
    HOLDING = "holding"
    INTERVENTION = "a person drives"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the control node did one thing, for one reason."""

    begin_s: float
    end_s: float
    activity: Activity
    reason: str

    @property
    def duration_s(self) -> float:
        """How long it lasted, s."""
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True)
class ClockJump:
    """Where the recorder's clock was set, or nothing was recorded.

    Args:
        time_s: When, s.
        passed_s: What its clock showed more afterwards, s; negative where it was set back.
    """

    time_s: float
    passed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """When the messages of a topic arrived.

    Args:
        name: Its full name.
        kind: Its message type; empty in a recording.
        received_s: float64 (N,): when they arrived, s.
        stamps_s: float64 (N,): their stamps, s; empty for messages without one.
        is_camera: Whether they are images.
    """

    name: str
    kind: str
    received_s: Vector
    stamps_s: Vector
    is_camera: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the control node counted over the run; 0 where it is not known."""

    commands: int = 0
    ticks_missed: int = 0
    holds: int = 0
    stalls: int = 0
    stalled_s: float = 0.0
    limiter_hits: int = 0
    chunks_rejected: int = 0
    inference_errors: int = 0
    inferences_skipped: int = 0
    chunk_publishers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the two nodes.

    Args:
        source: Where it was read.
        joints: The names of the commanded values.
        chunks: By the time of their arrival.
        commands: What was commanded, (N, D); may be empty.
        measured: Where the joints were, (N, D), NaN for values that are not measured.
        phases: What the control node did, in order.
        topics: The messages that arrived.
        counters: What the nodes counted.
        policy_times_s: Times that the policy itself reported, s.
        slow_streams: Received and expected rate of streams below their rate, Hz, by name.
        policy_reasons: Why the policy node did not infer when it was asked to, s by reason.
        clock_jumps: Where the recorder's clock was set; the times of the run go on over them.
        lost: Messages that the recorder is known to have lost, by topic.
        notes: What could not be read, and why, in sentences.
    """

    source: str
    joints: tuple[str, ...]
    chunks: tuple[RunChunk, ...]
    commands: Series
    measured: Series
    phases: tuple[Phase, ...] = ()
    topics: tuple[Topic, ...] = ()
    counters: Counters = Counters()
    policy_times_s: Vector = field(default_factory=lambda: np.empty(0))
    slow_streams: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    policy_reasons: Mapping[str, float] = field(default_factory=dict)
    clock_jumps: tuple[ClockJump, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def played(self) -> list[RunChunk]:
        """The chunks that were not refused."""
        return [chunk for chunk in self.chunks if not chunk.refused]

    @property
    def begin_s(self) -> float:
        """The first instant of anything in the run, s; 0 for an empty run."""
        return min(self._instants(), default=0.0)

    @property
    def end_s(self) -> float:
        """The last instant of anything in the run, s; 0 for an empty run."""
        return max(self._instants(), default=0.0)

    def _instants(self) -> list[float]:
        instants = [chunk.received_s for chunk in self.chunks]
        for series in (self.commands, self.measured):
            if len(series):
                instants += [float(series.times_s[0]), float(series.times_s[-1])]
        for phase in self.phases:
            instants += [phase.begin_s, phase.end_s]
        return instants
