# SPDX-License-Identifier: Apache-2.0
"""What the machine allows: python -m bench.bare_loop RATE_HZ PRIORITY

A thread with SCHED_FIFO sleeps from deadline to deadline, notes the time, and does nothing else.
For each line on stdin it tells the stamps since the line before, ns, as the command probe does.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

from bench.processes import tell
from gr00t_policy_core.control.deadline_ticker import DeadlineTicker


class BareLoop:
    """The loop, and the stamps that it has noted."""

    def __init__(self, rate_hz: float, priority: int) -> None:
        self._stamps_ns: list[int] = []
        self._rate_hz = rate_hz
        self._priority = priority
        threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> dict[str, object]:
        """What has come since the last call."""
        stamps_ns, self._stamps_ns = self._stamps_ns, []
        return {"stamps_ns": stamps_ns, "chunks": 0, "now_ns": time.time_ns()}

    def _run(self) -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self._priority))
        ticker = DeadlineTicker(self._rate_hz)
        while True:
            ticker.wait()
            self._stamps_ns.append(time.time_ns())


def main() -> None:
    rate_hz, priority = sys.argv[1:]
    loop = BareLoop(float(rate_hz), int(priority))
    gc.freeze()
    tell("ready")
    for _ in sys.stdin:
        tell(loop.take())


if __name__ == "__main__":
    main()
