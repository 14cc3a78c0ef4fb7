# SPDX-License-Identifier: Apache-2.0
"""When recordings are made: at once before a policy is ready, later beside the calls it answers."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

WAITING = 16  # recordings that wait at most; a client that varies its shapes must not fill memory
PATIENCE_S = 2.0  # a policy that is never idle would else never get a recording

logger = logging.getLogger(__name__)


class CaptureQueue:
    """Makes recordings one at a time, and never while a caller waits for it.

    Within `at_once` the caller's thread makes them. Else a thread of the queue's own does, and
    begins each recording in a moment when no call runs, or after `PATIENCE_S` without one. Calls
    that come during a recording go on beside it: no lock of theirs is held. The thread ends when
    nothing waits any more.

    Args:
        context: Entered by the thread around each recording: devices and modes of torch are set by
            thread.

    Attributes:
        turn: Held while a recording is replayed, or put into place.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[object]]) -> None:
        self._context = context
        self.turn = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._calls = 0
        self._thread: threading.Thread | None = None
        self._one_at_a_time = threading.Lock()
        self._at_once = 0  # threads within `at_once`: they record, not the queue's own

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around each call that may replay: what waits is recorded when none is inside."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Record what is asked for within at the end of it, in this thread."""
        with self._changed:
            self._at_once += 1
        try:
            yield
            self._run_all()
        finally:
            with self._changed:
                self._at_once -= 1
                self._start()

    def add(self, key: Hashable, record: Callable[[], None]) -> None:
        """Ask for a recording. One that waits already is not asked for again.

        Args:
            key: Of what is to be recorded.
            record: Makes the recording.
        """
        with self._changed:
            if key in self._waiting or len(self._waiting) >= WAITING:
                return
            self._waiting[key] = record
            self._start()

    def __len__(self) -> int:
        """How many recordings wait or are being made."""
        with self._changed:
            return len(self._waiting)

    def wait(self, timeout_s: float) -> bool:
        """Wait until no recording waits any more; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _start(self) -> None:
        if self._thread is None and self._waiting and not self._at_once:
            # No daemon: a process that ends in the middle of a capture would crash.
            self._thread = threading.Thread(target=self._run, name="gr00t-recordings")
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._calls, PATIENCE_S)
                if not self._waiting or self._at_once or not threading.main_thread().is_alive():
                    self._thread = None
                    return
            with self._context():
                self._make_next()

    def _run_all(self) -> None:
        while len(self):
            self._make_next()

    def _make_next(self) -> None:
        with self._one_at_a_time:
            with self._changed:
                if not self._waiting:
                    return
                key, record = next(iter(self._waiting.items()))
            try:
                record()
            except Exception:
                logger.exception("a recording failed; such calls go on without one")
            with self._changed:
                del self._waiting[key]
                self._changed.notify_all()
