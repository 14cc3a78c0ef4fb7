# SPDX-License-Identifier: Apache-2.0
"""Text for a terminal or a pipe that may be stopped, full or gone. Pure.

What watches a robot must not wait for a reader.
"""

from __future__ import annotations

import os
import queue
import threading

STDOUT = 1
MAX_WAITING = 100  # texts; further ones are dropped
CLOSE_S = 1.0  # for a reader that does not read


class TerminalLines:
    """Writes text to stdout in a thread of its own.

    The thread writes to the descriptor: if it waited in `sys.stdout`, the process could not exit.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Write a text as it is, as soon as the reader takes it; drop it if too many wait."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            return

    def close(self) -> None:
        """Write what waits, within `CLOSE_S`."""
        try:
            self._waiting.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while (text := self._waiting.get()) is not None:
                data = text.encode("utf-8", "backslashreplace")
                while data:
                    data = data[os.write(STDOUT, data) :]
        except OSError:  # the reader has gone; the task goes on without it
            while self._waiting.get() is not None:
                continue
