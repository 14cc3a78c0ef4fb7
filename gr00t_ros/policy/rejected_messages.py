# SPDX-License-Identifier: Apache-2.0
"""Messages that came and were not believed: counted by stream and cause, told while new. Pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

NEWS_S = 5.0  # a refusal is told for so long

AHEAD = "stamped ahead of this node's clock"
UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused of one stream for one cause.

    Args:
        cause: Why, in words that stay the same.
        count: Messages so far.
        detail: The figures of the last one.
        at_s: When the last one was refused, s, by the clock of `Refusals`.
    """

    cause: str
    count: int
    detail: str
    at_s: float


class Refusals:
    """The refused messages of all streams since the node was configured; safe between threads.

    Args:
        now_s: A monotonic clock, s.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str], Refusal] = {}

    def add(self, stream: str, cause: str, detail: str) -> None:
        """Count a message that was refused.

        Args:
            stream: Name of its stream, ``video.front``.
            cause: Why, in words that stay the same.
            detail: What was wrong with this one.
        """
        with self._lock:
            before = self._refused.get((stream, cause))
            count = 1 if before is None else before.count + 1
            self._refused[stream, cause] = Refusal(cause, count, detail, self._now_s())

    def count(self, stream: str) -> int:
        """How many messages of a stream were refused."""
        with self._lock:
            return sum(r.count for (name, _), r in self._refused.items() if name == stream)

    def latest(self, stream: str) -> Refusal | None:
        """What a stream's last refusal was; None where there was none."""
        with self._lock:
            of_stream = [r for (name, _), r in self._refused.items() if name == stream]
        return max(of_stream, key=lambda refusal: refusal.at_s, default=None)

    def news(self) -> list[str]:
        """A sentence for each stream and cause of the last seconds."""
        oldest_s = self._now_s() - NEWS_S
        with self._lock:
            recent = [(name, r) for (name, _), r in self._refused.items() if r.at_s >= oldest_s]
        return [
            f"{name}: {r.count} message{'' if r.count == 1 else 's'} refused, {r.cause} "
            f"(the last: {r.detail})"
            for name, r in recent
        ]
