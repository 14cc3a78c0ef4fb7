# SPDX-License-Identifier: Apache-2.0
"""What a server says goes out if it can: streams may be closed, full, or read by nobody.

Everything here writes to descriptors, not to `sys.stdout` and `sys.stderr`: a thread that waits in
one of those keeps its lock, with which the interpreter cannot end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading

from gr00t_policy_core.errors import printable

STDOUT, STDERR = 1, 2
PATIENCE_S = 1.0  # for a reader that does not read, at the end
MAX_WAITING_LINES = 10_000  # of the log; what comes while so many wait is dropped

logger = logging.getLogger(__name__)


def reopen_closed_streams() -> None:
    """Have descriptors 0 to 2 lead nowhere where they were closed.

    Or the next file or socket would get their numbers, and what is printed somewhere.
    """
    for descriptor, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def abandon_stdout() -> None:
    """Have what is still to be written to stdout go nowhere, so that the exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def announce(text: str) -> None:
    """Write a line to stdout, without waiting for its reader; a failure is logged."""

    def write() -> None:
        try:
            _write_all(STDOUT, f"{text}\n")
        except OSError as error:
            logger.warning("stdout takes nothing (%s): %s", error.strerror, text)

    threading.Thread(target=write, name="gr00t-announce", daemon=True).start()


def complain(text: str) -> None:
    """Write a line to stderr, if its reader takes it within `PATIENCE_S`."""

    def write() -> None:
        with contextlib.suppress(OSError):
            _write_all(STDERR, f"{printable(text)}\n")

    writing = threading.Thread(target=write, name="gr00t-complain", daemon=True)
    writing.start()
    writing.join(PATIENCE_S)


class StderrLog(logging.Handler):
    """Writes the log to stderr in a thread of its own, so that nobody waits for its reader.

    A terminal that was stopped with Ctrl-S, or a pipe that is not read, would else stop whoever
    logs something, and with it the server.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="gr00t-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written, or drop it where too many wait."""
        try:
            line = self.format(record)
        except Exception as error:  # as logging does: what cannot be formatted stops nothing
            line = f"a record of {record.name} cannot be formatted: {type(error).__name__}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, within `PATIENCE_S`; `logging` does this when the process ends."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=PATIENCE_S)
        self._thread.join(PATIENCE_S)
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            note = f"({dropped} lines were dropped: nobody read stderr)\n" if dropped else ""
            with contextlib.suppress(OSError):
                _write_all(STDERR, f"{note}{line}\n")


class PrintableFormatter(logging.Formatter):
    """Escapes what is not printable, so that no text of a client can steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as text; only a traceback has several lines."""
        return "\n".join(map(printable, super().format(record).split("\n")))


def _write_all(descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(descriptor, data) :]
