# SPDX-License-Identifier: Apache-2.0
"""Where a policy runs: in the server's own process, or in processes behind it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gr00t_policy_core.errors import SpecError


class ExecutionBackend(Protocol):
    """Says how many calls of a policy may run at once, and when. Safe in any thread.

    The server runs one worker thread for each of `size` concurrent calls.
    """

    @property
    def size(self) -> int:
        """How many calls may run at once."""

    @property
    def close_s(self) -> float:
        """How long `close` may take, in seconds."""

    @property
    def ready(self) -> bool:
        """Whether a call that begins now is computed as soon as earlier calls are done."""

    def turn(self, client: str) -> AbstractContextManager[None]:
        """A context in which this thread's calls for a client begin at once.

        Entering it waits until that is possible.

        Args:
            client: The id that `gr00t_policy_core.policy.current_client` returns to the policy.
        """

    def status(self) -> dict[str, Any]:
        """Entries for the reply to ``metrics``; empty if there are none."""

    def restart(self) -> None:
        """Begin to restart the processes one after the other; returns at once.

        Raises:
            SpecError: There are no processes to restart.
        """

    def drain(self) -> None:
        """Let calls in progress finish, and fail the calls that wait for a turn."""

    def close(self) -> None:
        """End all processes. May be called again."""


_NO_WAIT = contextlib.nullcontext()


class InProcessBackend:
    """Runs the policy in the server's own process, one call at a time."""

    size = 1
    close_s = 0.0
    ready = True

    def turn(self, client: str) -> AbstractContextManager[None]:
        return _NO_WAIT

    def status(self) -> dict[str, Any]:
        return {}

    def restart(self) -> None:
        raise SpecError("cannot restart", ["the policy runs in the server's process: no replicas"])

    def drain(self) -> None:
        """Do nothing: no call waits for a turn."""

    def close(self) -> None:
        """Do nothing: there is no other process."""
