# SPDX-License-Identifier: Apache-2.0
"""Signal handlers as they were before a library put its own in their place, in any thread."""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator

# Larger than `struct sigaction` of any system; it is only carried from one call to the other.
ROOM_BYTES = 1024
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within, handlers of signals that end a process may be replaced; afterwards they are back.

    `signal.signal` does so in the main thread only, and does not know of handlers that are not
    Python's. Ray's for SIGTERM, for one, calls the one before it, and aborts the process 3 s later
    although that has not ended it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = {number: ctypes.create_string_buffer(ROOM_BYTES) for number in ENDING}
    for number, action in before.items():
        libc.sigaction(int(number), None, action)
    alarm_was_set = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    try:
        yield
    finally:
        for number, action in before.items():
            libc.sigaction(int(number), action, None)
        if not alarm_was_set:
            signal.alarm(0)  # the 3 s, where the signal came meanwhile
