# SPDX-License-Identifier: Apache-2.0
"""The loop that keeps the control rate: a thread with absolute deadlines, real-time if allowed."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gr00t_policy_core.control.deadline_ticker import DeadlineTicker
from gr00t_ros.msg import LatencyStatistics
from gr00t_ros.node.latency_window import WINDOW_S, LatencyWindow

SWITCH_INTERVAL_S = 1e-5  # of Python's global interpreter lock; 5 ms by default
SPIN_S = 2e-4  # a real-time sleeper wakes up 0.04 ms late at the median, 0.2 ms at p99 (measured)
BELOW_LOOP = 10  # the other threads' real-time priority, below the loop's
TASKS = Path("/proc/self/task")  # the threads of this process, on Linux
JOIN_S = 2.0


class ControlLoop:
    """Calls a function at the control rate, in a thread of its own.

    Args:
        rate_hz: Ticks per second, Hz, > 0.
        tick: Called at every tick; an exception ends the loop.
        realtime_priority: SCHED_FIFO priority of the thread; None for the default scheduler.
        cpu: CPU to which the thread is pinned; None for any.
        warn: Called with a sentence for each setting that the system refuses.
    """

    def __init__(
        self,
        rate_hz: float,
        tick: Callable[[], None],
        *,
        realtime_priority: int | None,
        cpu: int | None,
        warn: Callable[[str], object],
    ) -> None:
        self._rate_hz = rate_hz
        self._tick = tick
        self._realtime_priority = realtime_priority
        self._cpu = cpu
        self._warn = warn
        self._ending = threading.Event()
        self._lateness = LatencyWindow(max(1, round(WINDOW_S * rate_hz)))
        self._ticks_missed = 0
        self._ticked_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def silent_s(self) -> float:
        """The time since the end of the last tick, s."""
        return time.monotonic() - self._ticked_s

    @property
    def ticks_missed(self) -> int:
        """Deadlines that passed without a tick since the start."""
        return self._ticks_missed

    def lateness(self) -> LatencyStatistics:
        """The lateness of the ticks of the last minute."""
        return self._lateness.statistics()

    def end(self) -> None:
        """End the thread; no tick is under way afterwards."""
        self._ending.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        is_real_time = self._request_real_time()
        ticker = DeadlineTicker(self._rate_hz, spin_s=SPIN_S if is_real_time else 0.0)
        while not self._ending.is_set():
            self._lateness.add(ticker.wait() * 1e-9)
            self._ticks_missed = ticker.lost
            self._tick()
            self._ticked_s = time.monotonic()

    def _request_real_time(self) -> bool:
        """Apply the CPU and the priority; returns whether the thread is real-time now."""
        if self._cpu is not None:
            try:
                os.sched_setaffinity(0, {self._cpu})
            except (OSError, AttributeError) as error:
                self._warn(f"cpu_affinity {self._cpu} is refused: {error}")
        if self._realtime_priority is None:
            return False
        return _request_fifo([0], self._realtime_priority, self._warn)


def keep_loop_punctual(realtime_priority: int | None, warn: Callable[[str], object]) -> None:
    """Keep the other threads of this process from delaying the control loop by Python's lock.

    A thread that holds the lock releases it within the switch interval. If the loop is real-time,
    other processes cannot delay that release. Measured at 50 and 200 Hz under load
    (docs/benchmarks/control-loop.md): without, the loop's own real-time priority changes little.

    Args:
        realtime_priority: SCHED_FIFO priority of the loop; None for the default scheduler.
        warn: Called with a sentence for each setting that the system refuses.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if realtime_priority is not None and TASKS.is_dir():
        threads = [int(task.name) for task in TASKS.iterdir()]
        _request_fifo(threads, max(1, realtime_priority - BELOW_LOOP), warn)


def _request_fifo(threads: list[int], priority: int, warn: Callable[[str], object]) -> bool:
    try:
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):  # a thread has ended meanwhile
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, AttributeError) as error:
        warn(
            f"realtime_priority {priority} is refused: {error}; "
            "allow it with 'rtprio' in /etc/security/limits.conf or CAP_SYS_NICE"
        )
        return False
    return True
