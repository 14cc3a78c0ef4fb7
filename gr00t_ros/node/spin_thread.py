# SPDX-License-Identifier: Apache-2.0
"""Runs an executor in a thread, and ends it in the one order in which nothing can crash."""

from __future__ import annotations

import contextlib
import threading

from rclpy.executors import Executor, ExternalShutdownException


class SpinThread:
    """Runs the callbacks of an executor's nodes until `end`, or until their context ends.

    Args:
        executor: Belongs to this object from now on.
        name: The name of the thread.
    """

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor: Executor | None = executor
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(executor,), name=name, daemon=True)
        self._thread.start()

    def end(self, timeout_s: float) -> bool:
        """End the thread. May be called again.

        `Executor.shutdown` does not wait for a thread that spins, and takes from it what it uses.

        Returns:
            Whether no callback runs any more, and none will: only then may nodes be destroyed.
        """
        if self._executor is None:
            return True
        self._ending.set()
        self._executor.create_task(lambda: None)  # `wake` does not end a `spin_once` without work
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._executor.shutdown()
        self._executor = None  # it refers to the nodes
        return True

    def _run(self, executor: Executor) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while executor.context.ok() and not self._ending.is_set():
                executor.spin_once()
