# SPDX-License-Identifier: Apache-2.0
"""Lets one goal run at a time. Pure."""

from __future__ import annotations

import threading
from dataclasses import dataclass

BUSY = "another goal runs: cancel it first, or set the parameter `preempt` of the task node"
REPLACED = "another goal has taken its place"


@dataclass(slots=True)
class Interrupt:
    """The request to end a goal; any thread may set its reason."""

    reason: str = ""


class GoalSlot:
    """The place of the goal that runs; goals enter it in threads of their own.

    Args:
        preempts: Whether a goal ends the one that runs, and not just fails.
    """

    def __init__(self, *, preempts: bool) -> None:
        self._preempts = preempts
        self._condition = threading.Condition()
        self._current: Interrupt | None = None
        self._newest: Interrupt | None = None
        self._closed = ""

    @property
    def is_taken(self) -> bool:
        """Whether a goal runs."""
        return self._current is not None

    def enter(self, interrupt: Interrupt) -> str:
        """Wait until a goal may run.

        Args:
            interrupt: Ends the goal later, when another one takes its place.

        Returns:
            Why the goal may not run; empty if it may.
        """
        with self._condition:
            if self._closed:
                return self._closed
            if self._current is not None and not self._preempts:
                return BUSY
            self._newest = interrupt
            self._condition.notify_all()  # one that waits is replaced, too
            if self._current is not None:
                self._current.reason = REPLACED
            self._condition.wait_for(
                lambda: self._closed or self._current is None or self._newest is not interrupt
            )
            if self._closed:
                return self._closed
            if self._newest is not interrupt:
                return REPLACED
            self._current = interrupt
            return ""

    def leave(self) -> None:
        """Make room for the next goal."""
        with self._condition:
            self._current = None
            self._condition.notify_all()

    def close(self, reason: str) -> None:
        """End the goal that runs, and let no other one run: neither one that waits nor a later one.

        Args:
            reason: Why; not empty.
        """
        with self._condition:
            self._closed = reason
            if self._current is not None:
                self._current.reason = reason
            self._condition.notify_all()
