# SPDX-License-Identifier: Apache-2.0
"""Output of a server to streams that may be closed, full, or without a reader.

This module writes to descriptors, not to `sys.stdout` and `sys.stderr`: a thread that blocks in one
of those keeps its lock, and then the interpreter cannot exit.
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
WRITE_TIMEOUT_S = 1.0  # for a reader that does not read, at exit
MAX_WAITING_LINES = 10_000  # further lines of the log are dropped

logger = logging.getLogger(__name__)


def reopen_closed_streams() -> None:
    """Open closed descriptors 0 to 2 on the null device.

    Otherwise the next file or socket gets such a number, and receives what is printed.
    """
    for descriptor, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def abandon_stdout() -> None:
    """Redirect stdout to the null device, so that flushing it at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def announce(text: str) -> None:
    """Write a line to stdout without waiting for its reader; log a failure."""

    def write() -> None:
        try:
            _write_all(STDOUT, f"{text}\n")
        except OSError as error:
            logger.warning("cannot write to stdout (%s): %s", error.strerror, text)

    threading.Thread(target=write, name="gr00t-announce", daemon=True).start()


def write_error(text: str) -> None:
    """Write a line to stderr, if its reader takes it within `WRITE_TIMEOUT_S`."""

    def write() -> None:
        with contextlib.suppress(OSError):
            _write_all(STDERR, f"{printable(text)}\n")

    thread = threading.Thread(target=write, name="gr00t-write-error", daemon=True)
    thread.start()
    thread.join(WRITE_TIMEOUT_S)


class StderrLog(logging.Handler):
    """Writes the log to stderr in its own thread, so that no thread waits for the reader.

    Otherwise a terminal stopped with Ctrl-S, or a pipe that is not read, would block every thread
    that logs, and with it the server.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="gr00t-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record for writing; drop it if `MAX_WAITING_LINES` are queued."""
        try:
            line = self.format(record)
        except Exception as error:  # as in logging, a record that cannot be formatted stops nothing
            line = f"a record of {record.name} cannot be formatted: {type(error).__name__}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write the queued lines within `WRITE_TIMEOUT_S`; `logging` calls this at exit."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=WRITE_TIMEOUT_S)
        self._thread.join(WRITE_TIMEOUT_S)
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            note = (
                f"({dropped} lines were dropped, because stderr was not read)\n" if dropped else ""
            )
            with contextlib.suppress(OSError):
                _write_all(STDERR, f"{note}{line}\n")


class PrintableFormatter(logging.Formatter):
    """Escapes control characters, so that no text of a client can control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record; only a traceback has several lines."""
        return "\n".join(map(printable, super().format(record).split("\n")))


def _write_all(descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(descriptor, data) :]
