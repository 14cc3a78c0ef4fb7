# SPDX-License-Identifier: Apache-2.0
"""When CUDA graphs are captured: before a policy is ready, and later in between its calls."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

MAX_PENDING = 16  # bounds the memory of a client that sends ever new shapes
MAX_BUSY_S = 2.0  # a policy that is never idle captures beside its calls after that time

logger = logging.getLogger(__name__)


class CaptureQueue:
    """Runs captures one at a time, and never while a caller waits for one.

    Within `synchronous` the caller's thread runs them. Otherwise a thread of the queue runs each
    capture when no call is running, or after `MAX_BUSY_S` of uninterrupted calls. Calls that arrive
    during a capture continue beside it, because the capture holds no lock that they need. The
    thread ends when the queue is empty.

    Args:
        context: Makes the context that the queue's thread enters around each capture. The current
            device and inference mode of torch belong to a thread.

    Attributes:
        replay_lock: Held while a graph is replayed, or while a new one is stored.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[object]]) -> None:
        self._context = context
        self.replay_lock = threading.Lock()
        self._changed = threading.Condition()
        self._pending: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._calls = 0
        self._thread: threading.Thread | None = None
        self._capture_lock = threading.Lock()
        self._synchronous = 0  # threads within `synchronous`, which capture by themselves

    @contextmanager
    def call(self) -> Iterator[None]:
        """Enclose a call that may replay graphs; the thread captures when no call is running."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def synchronous(self) -> Iterator[None]:
        """Run the captures that the block requests in this thread, at the end of the block."""
        with self._changed:
            self._synchronous += 1
        try:
            yield
            self._run_all()
        finally:
            with self._changed:
                self._synchronous -= 1
                self._start()

    def add(self, key: Hashable, capture: Callable[[], None]) -> None:
        """Request a capture. A request whose key is pending already has no effect.

        Args:
            key: Identifies the function and the shapes of its inputs.
            capture: Captures the graph and stores it.
        """
        with self._changed:
            if key in self._pending or len(self._pending) >= MAX_PENDING:
                return
            self._pending[key] = capture
            self._start()

    def __len__(self) -> int:
        """The number of captures that are pending or running."""
        with self._changed:
            return len(self._pending)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until no capture is pending; return False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def _start(self) -> None:
        if self._thread is None and self._pending and not self._synchronous:
            # Not a daemon: a process that exits in the middle of a capture would crash.
            self._thread = threading.Thread(target=self._run, name="gr00t-capture")
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._calls, MAX_BUSY_S)
                main_thread = threading.main_thread()
                if not self._pending or self._synchronous or not main_thread.is_alive():
                    self._thread = None
                    return
            with self._context():
                self._run_next()

    def _run_all(self) -> None:
        while len(self):
            self._run_next()

    def _run_next(self) -> None:
        with self._capture_lock:
            with self._changed:
                if not self._pending:
                    return
                key, capture = next(iter(self._pending.items()))
            try:
                capture()
            except Exception:
                logger.exception("a capture failed; calls of these shapes run without a graph")
            with self._changed:
                del self._pending[key]
                self._changed.notify_all()
