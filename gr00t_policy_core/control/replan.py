# SPDX-License-Identifier: Apache-2.0
"""When to ask the policy next. All times are s on the clock of the observation stamps."""

from __future__ import annotations

import math
from collections import deque

LATENCIES = 50  # answers that the latency is estimated from
LATENCY_SHARE = 0.9  # of them came within it: one spike does not move it
# A chunk that no other has taken over from slows down before its end, over about so much of it: an
# arm at 1.3 rad/s with the default limits (`ActiveChunk.ramp_down_s`).
RAMP_DOWN_S = 0.15
RAMP_DOWN_SHARE = 0.25  # of a chunk, at most


class LatencyEstimate:
    """How long answers take: a high percentile of the last ones."""

    def __init__(self) -> None:
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES)

    def add(self, latency_s: float) -> None:
        """Add the latency of one answer, s."""
        self._latencies_s.append(latency_s)

    @property
    def value_s(self) -> float:
        """The latency that nine of ten answers do not exceed, s; 0 before the first."""
        if not self._latencies_s:
            return 0.0
        ordered = sorted(self._latencies_s)
        return ordered[math.ceil(LATENCY_SHARE * len(ordered)) - 1]


class ReplanTimer:
    """Decides when to send the next observation. At most one request is in progress.

    Args:
        chunk_s: How long a chunk lasts, from its first step to its last, s.
        step_s: Time between two steps of a chunk, s.
        interval_s: Between two observations, s; None to ask as late as the latency allows: an
            answer should arrive before the chunk slows down towards its end.
        sync: Ask only when the chunk has been played; `interval_s` is not used then.
    """

    def __init__(
        self, *, chunk_s: float, step_s: float, interval_s: float | None, sync: bool = False
    ) -> None:
        self._chunk_s = chunk_s
        self._interval_s = interval_s
        self._margin_s = step_s + min(RAMP_DOWN_S, RAMP_DOWN_SHARE * chunk_s)
        self._sync = sync
        self._due_s: float | None = None
        self.latency = LatencyEstimate()

    @property
    def is_periodic(self) -> bool:
        """Whether observations are sent by the clock, regardless of the answers."""
        return self._interval_s is not None and not self._sync

    @property
    def pace_problem(self) -> str:
        """Why the policy is too slow, and what to do about it; empty where it keeps up.

        A chunk that comes later than it lasts has no step left to play.
        """
        if self._sync or self.latency.value_s < self._chunk_s:
            return ""
        return (
            f"the policy takes {self.latency.value_s:.2f} s, a chunk lasts {self._chunk_s:.2f} s, "
            "and the robot stands still in between; make the policy faster or its chunks longer, "
            "or set inference: sync, which plays each of them from its beginning"
        )

    @property
    def interval_s(self) -> float:
        """The approximate time from one observation to the next, s."""
        if self._interval_s is not None and not self._sync:
            return self._interval_s
        return self._chunk_s

    def next_s(self, *, observed_s: float, asked_s: float, answered_s: float) -> float:
        """When to ask next, after an answer.

        Args:
            observed_s: Stamp of the observation behind it, s.
            asked_s: When the observation was sent, s.
            answered_s: When the answer arrived, s.
        """
        self.latency.add(max(0.0, answered_s - asked_s))  # the clock may have been set back
        if self._sync:
            # The arm stood still until the answer came: the whole chunk is still to be played.
            return answered_s + self._chunk_s + self._margin_s
        if self._interval_s is None:
            return observed_s + self._chunk_s - self.latency.value_s - self._margin_s
        self._due_s = self._on_beat(asked_s, self._interval_s)
        return self._due_s

    def _on_beat(self, asked_s: float, interval_s: float) -> float:
        """The next beat of the interval; after a stall it restarts instead of catching up."""
        due_s = asked_s if self._due_s is None else self._due_s
        following_s = due_s + interval_s
        return (
            following_s if asked_s < following_s <= asked_s + interval_s else asked_s + interval_s
        )
