# SPDX-License-Identifier: Apache-2.0
"""Buffers of stamped samples: what a stream delivered, and when.

Stamps are integer nanoseconds of the one clock that the robot's messages are stamped with.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

RATE_WINDOW = 200  # receptions that a received rate is taken over, at most
RATE_SPAN_NS = 3_000_000_000  # and no longer ago than this


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """One value of a stream.

    Args:
        stamp_ns: When it was measured, ns, on the clock that the robot's messages are stamped with.
        value: What was measured; the stream says of which type.
    """

    stamp_ns: int
    value: T


class SampleBuffer(Generic[T]):
    """The newest samples of one stream, in the order of their stamps; safe between threads.

    A stamp that lies further back than the whole span means that the clock was set back (a
    restarted simulation, a looped bag): the samples are dropped and the buffer restarts.

    Args:
        span_ns: Samples older than the newest by more than this are dropped, ns.
        max_samples: How many samples are kept at most; the oldest go.

    Raises:
        ValueError: `max_samples` is below 1, or `span_ns` is negative.
    """

    def __init__(self, *, span_ns: int, max_samples: int = 10_000) -> None:
        if max_samples < 1:
            raise ValueError(f"max_samples must be >= 1, got {max_samples}")
        self._max_samples = max_samples
        self._samples: list[Sample[T]] = []
        self._receptions: deque[int] = deque(maxlen=RATE_WINDOW)
        self._lock = threading.Lock()
        self.keep(span_ns)

    def keep(self, span_ns: int) -> None:
        """Change how far back the samples reach from now on, ns; ValueError if negative."""
        if span_ns < 0:
            raise ValueError(f"span_ns must be >= 0, got {span_ns}")
        self._span_ns = span_ns

    def add(self, stamp_ns: int, value: T, *, received_ns: int) -> None:
        """Keep a sample.

        Args:
            stamp_ns: When it was measured, ns; late arrivals are sorted in.
            value: What was measured; kept, not copied.
            received_ns: When it arrived, on a monotonic clock, ns; only the received rate uses it.
        """
        with self._lock:
            samples = self._samples
            self._receptions.append(received_ns)
            if samples and stamp_ns < samples[-1].stamp_ns - max(self._span_ns, RATE_SPAN_NS):
                samples.clear()
            insort(samples, Sample(stamp_ns, value), key=_stamp)
            oldest_ns = samples[-1].stamp_ns - self._span_ns
            first = bisect_left(samples, oldest_ns, key=_stamp)
            del samples[: max(first, len(samples) - self._max_samples)]

    def latest(self) -> Sample[T] | None:
        """The newest sample, or None when there is none."""
        with self._lock:
            return self._samples[-1] if self._samples else None

    def nearest(self, stamp_ns: int) -> Sample[T] | None:
        """The sample whose stamp is closest to `stamp_ns`, or None when there is none."""
        with self._lock:
            samples = self._samples
            after = bisect_left(samples, stamp_ns, key=_stamp)
            candidates = samples[max(after - 1, 0) : after + 1]
            return min(candidates, key=lambda s: abs(s.stamp_ns - stamp_ns), default=None)

    def drop_after(self, stamp_ns: int) -> None:
        """Drop the samples with a later stamp: the clock was set back a little."""
        with self._lock:
            samples = self._samples
            while samples and samples[-1].stamp_ns > stamp_ns:
                samples.pop()

    def discard(self, sample: Sample[T]) -> None:
        """Drop a sample that turned out to be invalid, if it is still there."""
        with self._lock:
            self._samples[:] = [kept for kept in self._samples if kept is not sample]

    def rate_hz(self, now_ns: int) -> float:
        """Return the recent rate of received messages, Hz.

        Args:
            now_ns: The present on the clock of `received_ns`, ns.
        """
        with self._lock:
            receptions = list(self._receptions)
        return recent_rate_hz(receptions, now_ns)

    def clear(self) -> None:
        """Drop all samples, and the receptions that the rate is taken over."""
        with self._lock:
            self._samples.clear()
            self._receptions.clear()


def recent_rate_hz(receptions: Iterable[int], now_ns: int) -> float:
    """How often something was received in the last `RATE_SPAN_NS`, Hz.

    Args:
        receptions: When, ns, in order.
        now_ns: The present on the same clock, ns.
    """
    recent = [t for t in receptions if now_ns - t <= RATE_SPAN_NS]
    if len(recent) < 2:
        return 0.0
    # The gap since the last message counts once it is longer than the usual one, so that the rate
    # of a stream that has just died falls at once.
    period_ns = (recent[-1] - recent[0]) / (len(recent) - 1)
    silence_ns = max(0.0, now_ns - recent[-1] - period_ns)
    return 1e9 * (len(recent) - 1) / max(recent[-1] - recent[0] + silence_ns, 1.0)


def _stamp(sample: Sample[T]) -> int:
    return sample.stamp_ns
