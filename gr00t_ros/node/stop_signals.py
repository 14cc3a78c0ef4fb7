# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP for the processes of this package. Pure.

They replace the handlers of rclpy, which end the context at once: a node that commands an arm must
still be able to publish its last command.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal
# At Ctrl-C a process that was launched gets SIGINT twice, from the terminal and from launch. They
# are one request: a signal counts as repeated only this long after the same signal came first, s.
REPEATED_AFTER_S = 0.5


class StopRequest:
    """Whether a signal has asked the process to end, and whether the same one has asked again.

    Another signal does not ask again: supervisors send SIGTERM some time after SIGINT (`ros2
    launch`: 5 s), although nobody has lost patience.

    Plain attributes: a handler may interrupt itself, and `threading.Event.set` would then wait for
    a lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._came_s: dict[int, float] = {}  # when each signal came first, by number
        self._is_repeated = False

    def is_set(self) -> bool:
        """Whether the process should end."""
        return bool(self._came_s)

    def is_repeated(self) -> bool:
        """Whether a signal has arrived again: the process should not wait any longer."""
        return self._is_repeated

    def handle(self, number: int, *_: object) -> None:
        """Handle a signal."""
        now_s = time.monotonic()
        if now_s - self._came_s.setdefault(number, now_s) >= REPEATED_AFTER_S:
            self._is_repeated = True


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Record the signals within the context; after it they do nothing until the process ends."""
    stopping = StopRequest()
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stopping.handle)
    try:
        yield stopping
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
