# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM for the processes of this package. Pure.

They are ours, not rclpy's: its handlers end the context at once, and a node that commands an arm
must still be able to publish its last command.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Within, the signals set the event; afterwards they do nothing until the process ends.

    At Ctrl-C a process that was launched gets SIGINT twice, from the terminal and from launch. The
    second must not kill it on its way out.
    """
    stopping = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stopping.set())
    try:
        yield stopping
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
