# SPDX-License-Identifier: Apache-2.0
"""A loop that keeps its rate: absolute deadlines, so that a late tick does not delay the rest."""

from __future__ import annotations

import time
from collections.abc import Callable


class DeadlineTicker:
    """Sleeps from deadline to deadline of one monotonic clock.

    A deadline that was missed altogether is skipped and counted: after a stall the loop goes on at
    its rate instead of catching up in a burst.

    Args:
        rate_hz: Ticks per second, Hz; > 0.
        spin_s: How long before each deadline to wake up and spin until it is there, s: a sleeping
            thread is woken up late. It takes that much time of a core at each tick.
        now_ns: Reads a monotonic clock, ns.
        sleep_s: Puts the thread to sleep for a time, s.

    Raises:
        ValueError: `rate_hz` is not > 0.
    """

    def __init__(
        self,
        rate_hz: float,
        *,
        spin_s: float = 0.0,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        if not rate_hz > 0.0:
            raise ValueError(f"rate_hz must be > 0, got {rate_hz}")
        self.period_ns = round(1e9 / rate_hz)
        self.lost = 0
        self._spin_ns = round(spin_s * 1e9)
        self._now_ns = now_ns
        self._sleep_s = sleep_s
        self._deadline_ns = now_ns()

    def wait(self) -> int:
        """Wait for the next deadline; returns how late the end of the wait was, ns."""
        self._deadline_ns += self.period_ns
        missed = max(0, (self._now_ns() - self._deadline_ns) // self.period_ns)
        self.lost += missed
        self._deadline_ns += missed * self.period_ns
        remaining_ns = self._deadline_ns - self._spin_ns - self._now_ns()
        if remaining_ns > 0:
            self._sleep_s(remaining_ns * 1e-9)
        while self._spin_ns and self._now_ns() < self._deadline_ns:
            pass
        return max(0, self._now_ns() - self._deadline_ns)
