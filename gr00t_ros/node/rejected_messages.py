# SPDX-License-Identifier: Apache-2.0
"""Messages that were received and rejected, counted by stream and cause. Pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

RECENT_S = 5.0  # a rejection is reported for this long

AHEAD = "stamped ahead of this node's clock"
UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Rejection:
    """The messages of one stream that were rejected for one cause.

    Args:
        cause: Why, in words that stay the same.
        count: Number of messages rejected so far.
        detail: What was wrong with the last one.
        at_s: When the last one was rejected, s, by the clock of `RejectedMessages`.
    """

    cause: str
    count: int
    detail: str
    at_s: float


class RejectedMessages:
    """The rejected messages of all streams since the node was configured; safe between threads.

    Args:
        now_s: A monotonic clock, s, which measures the age of a rejection.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._by_cause: dict[tuple[str, str], Rejection] = {}

    def add(self, stream: str, cause: str, detail: str) -> None:
        """Count a message that was rejected.

        Args:
            stream: Name of its stream, for example ``video.front``.
            cause: Why, in words that stay the same.
            detail: What was wrong with this one.
        """
        with self._lock:
            before = self._by_cause.get((stream, cause))
            count = 1 if before is None else before.count + 1
            self._by_cause[stream, cause] = Rejection(cause, count, detail, self._now_s())

    def count(self, stream: str) -> int:
        """The number of rejected messages of a stream."""
        with self._lock:
            return sum(r.count for (name, _), r in self._by_cause.items() if name == stream)

    def latest(self, stream: str) -> Rejection | None:
        """The newest rejection of a stream; None where there was none."""
        with self._lock:
            of_stream = [r for (name, _), r in self._by_cause.items() if name == stream]
        return max(of_stream, key=lambda rejection: rejection.at_s, default=None)

    def recent(self) -> list[str]:
        """A sentence for each stream and cause of the last seconds."""
        oldest_s = self._now_s() - RECENT_S
        with self._lock:
            recent = [(name, r) for (name, _), r in self._by_cause.items() if r.at_s >= oldest_s]
        return [
            f"{name}: {r.count} message{'' if r.count == 1 else 's'} rejected, {r.cause} "
            f"(the last: {r.detail})"
            for name, r in recent
        ]
