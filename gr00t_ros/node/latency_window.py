# SPDX-License-Identifier: Apache-2.0
"""Latencies of the last minute: the newest one, the median and the 99th percentile."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np

from gr00t_ros.msg import LatencyStatistics

WINDOW_S = 60.0


class LatencyWindow:
    """Keeps latencies for a minute; safe between threads.

    A control loop adds one value per tick, so `add` allocates nothing.

    Args:
        capacity: Largest number of values kept, > 0; the newest ones replace the oldest.
        now_s: A monotonic clock, s, which measures the minute.
    """

    def __init__(self, capacity: int, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._values_s = np.full(capacity, math.nan)
        self._added_s = np.full(capacity, -math.inf)
        self._capacity = capacity
        self._next = 0
        self._last_s = math.nan
        self._lock = threading.Lock()

    def add(self, latency_s: float) -> None:
        """Add a latency, s; a value that is not finite is unknown and left out."""
        if not math.isfinite(latency_s):
            return
        with self._lock:
            self._values_s[self._next] = self._last_s = latency_s
            self._added_s[self._next] = self._now_s()
            self._next = (self._next + 1) % self._capacity

    def statistics(self) -> LatencyStatistics:
        """The statistics of the latencies of the last minute."""
        oldest_s = self._now_s() - WINDOW_S
        with self._lock:
            recent_s = self._values_s[self._added_s >= oldest_s]
            last_s = self._last_s
        if not len(recent_s):
            return LatencyStatistics(last_s=last_s, p50_s=math.nan, p99_s=math.nan)
        p50_s, p99_s = np.percentile(recent_s, (50.0, 99.0)).tolist()
        return LatencyStatistics(last_s=last_s, p50_s=p50_s, p99_s=p99_s)


def no_latencies() -> LatencyStatistics:
    """The statistics before the first latency."""
    return LatencyStatistics(last_s=math.nan, p50_s=math.nan, p99_s=math.nan)
