# SPDX-License-Identifier: Apache-2.0
"""Handles clients that the transport rejects, and clients that disconnect."""

from __future__ import annotations

import time

from gr00t_policy_core.errors import PolicyTimeoutError
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.transport.base import Sender


class ConnectionEvents:
    """Handles the events of connections other than messages. Safe in any thread.

    Args:
        queue: Where requests of a lost connection may wait.
        failures: Logs rejected clients, and requests that no client waits for.
    """

    def __init__(self, queue: FairQueue, failures: FailureLog) -> None:
        self._queue = queue
        self._failures = failures

    def rejected(self, peer: str, error: Exception) -> None:
        """Report that a client at `peer` was disconnected or not admitted because of `error`."""
        self._failures.report("a connection", peer, error)

    def disconnected(self, sender: Sender) -> None:
        """Drop the waiting requests of a connection that has ended."""
        for request in self._queue.drop(sender):
            waited_s = time.monotonic() - request.received_s
            error = PolicyTimeoutError(
                f"dropped: its client disconnected after {waited_s:.3f} s, before its turn came"
            )
            self._failures.report(request.endpoint.name, request.peer, error, request.connection)
