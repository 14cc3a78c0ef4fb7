# SPDX-License-Identifier: Apache-2.0
"""Keeps signal handlers that a library would replace, in any thread."""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator

# Larger than `struct sigaction` of any system, which is passed from one call to the next as it is.
SIGACTION_BYTES = 1024
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the handlers of signals that end a process when the context ends.

    `signal.signal` works in the main thread only, and does not know of handlers that are not
    Python's. Ray's handler of SIGTERM, for one, calls the one before it, and aborts the process 3 s
    later if that has not ended it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = {number: ctypes.create_string_buffer(SIGACTION_BYTES) for number in ENDING}
    for number, action in before.items():
        libc.sigaction(int(number), None, action)
    alarm_was_set = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    try:
        yield
    finally:
        for number, action in before.items():
            libc.sigaction(int(number), action, None)
        if not alarm_was_set:
            signal.alarm(0)  # Ray has set its 3 s alarm if the signal arrived in the meantime
