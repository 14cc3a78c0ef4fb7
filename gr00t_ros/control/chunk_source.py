# SPDX-License-Identifier: Apache-2.0
"""Whose action chunks are played: those of one node run, and nobody else's. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

from gr00t_policy_core.control.chunk import ChunkRefusedError

# A source that has been silent for so long has ended: another one may take over, s.
SILENT_S = 2.0


class ChunkSource:
    """Keeps to the first source of chunks, until it falls silent.

    Two policies that play in turns would tear the robot between their plans.

    Args:
        now_s: The monotonic clock, s.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._name: str | None = None
        self._heard_s = 0.0

    @property
    def name(self) -> str:
        """The source that is kept to; empty before the first chunk."""
        return self._name or ""

    def admit(self, name: str) -> None:
        """Let a chunk of this source pass.

        Raises:
            ChunkRefusedError: It comes from another source than those before.
        """
        now_s = self._now_s()
        is_other = self._name is not None and name != self._name
        if is_other and now_s - self._heard_s < SILENT_S:
            raise ChunkRefusedError(
                f"{name or 'an unnamed publisher'} publishes action chunks beside "
                f"{self._name or 'an unnamed publisher'}, whose chunks are played; end one of them"
            )
        self._name, self._heard_s = name, now_s
