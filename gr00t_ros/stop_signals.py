# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM for the processes of this package. Pure.

They are ours, not rclpy's: its handlers end the context at once, and a node that commands an arm
must still be able to publish its last command.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has asked the process to end.

    A plain flag: a handler may interrupt itself, and `threading.Event.set` would then wait for a
    lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._came = False

    def is_set(self) -> bool:
        return self._came

    def handle(self, *_: object) -> None:
        """The handler of the signals."""
        self._came = True


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Within, the signals are noted; afterwards they do nothing until the process ends.

    At Ctrl-C a process that was launched gets SIGINT twice, from the terminal and from launch. The
    second must not kill it on its way out.
    """
    stopping = StopRequest()
    for number in STOP_SIGNALS:
        signal.signal(number, stopping.handle)
    try:
        yield stopping
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
