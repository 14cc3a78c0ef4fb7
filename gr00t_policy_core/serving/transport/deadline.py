# SPDX-License-Identifier: Apache-2.0
"""The time by which a call must return, even if the server hangs."""

from __future__ import annotations

import time


class Deadline:
    """A point in time, `timeout_ms` from its construction."""

    __slots__ = ("_ends_at", "timeout_ms")

    def __init__(self, timeout_ms: float) -> None:
        self.timeout_ms = timeout_ms
        self._ends_at = time.monotonic() + timeout_ms / 1000

    @property
    def remaining_s(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def remaining_ms(self) -> int:
        return max(0, int((self._ends_at - time.monotonic()) * 1000))
