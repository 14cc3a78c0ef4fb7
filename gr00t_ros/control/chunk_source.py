# SPDX-License-Identifier: Apache-2.0
"""Admits the chunks of one run of the policy node at a time. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

from gr00t_policy_core.control.chunk import ChunkRefusedError

# A source that has been silent for this long has ended, and another one may take over, s.
SILENT_S = 2.0


class ChunkSource:
    """Admits the chunks of one source until they are played and it has fallen silent.

    Alternating chunks of two policies would pull the robot between two plans.

    Args:
        now_s: A monotonic clock, s, which measures the silence.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._name: str | None = None
        self._heard_s = 0.0

    @property
    def name(self) -> str:
        """The source whose chunks are admitted; empty before the first chunk."""
        return self._name or ""

    def require_admitted(self, name: str, *, is_played: bool) -> None:
        """Require that a chunk of a source may be played.

        Args:
            name: The run that published the chunk, as in `ActionChunk.source`.
            is_played: Whether a chunk is being played.

        Raises:
            ChunkRefusedError: Another source is admitted at present.
        """
        is_other = self._name is not None and name != self._name
        if is_other and (is_played or self._now_s() - self._heard_s < SILENT_S):
            raise ChunkRefusedError(
                f"{name or 'an unnamed publisher'} publishes action chunks beside "
                f"{self._name or 'an unnamed publisher'}, whose chunks are played; end one of them"
            )

    def admit(self, name: str) -> None:
        """Admit a source, one of whose chunks can be played, until it falls silent."""
        self._name, self._heard_s = name, self._now_s()
