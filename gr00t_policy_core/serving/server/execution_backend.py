# SPDX-License-Identifier: Apache-2.0
"""How many calls of a policy run at once: one lane each, a thread that answers."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gr00t_policy_core.errors import SpecError


class Lanes(Protocol):
    """What stands behind a policy that may be called from several threads."""

    @property
    def size(self) -> int:
        """How many calls may run at once."""

    @property
    def close_s(self) -> float:
        """How long `close` may take."""

    @property
    def ready(self) -> bool:
        """Whether a call would be begun now, or wait only for others."""

    def turn(self, client: str) -> AbstractContextManager[None]:
        """Within, this thread's calls for a client begin at once; entering waits until they can."""

    def status(self) -> dict[str, Any]:
        """For the server's metrics."""

    def restart(self) -> None:
        """Begin to renew what answers, one after the other; returns at once.

        Raises:
            SpecError: There is nothing of that kind.
        """

    def drain(self) -> None:
        """Let what has begun end; whoever waits for a turn gets an error."""

    def close(self) -> None:
        """End everything. May be called again."""


_AT_ONCE = contextlib.nullcontext()


class OneLane:
    """A policy in this process: one call at a time."""

    size = 1
    close_s = 0.0
    ready = True

    def turn(self, client: str) -> AbstractContextManager[None]:
        return _AT_ONCE

    def status(self) -> dict[str, Any]:
        return {}

    def restart(self) -> None:
        raise SpecError("cannot restart", ["the policy is in the server's process: no replicas"])

    def drain(self) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """There is nothing to end."""
