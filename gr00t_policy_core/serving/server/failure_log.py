# SPDX-License-Identifier: Apache-2.0
"""Logs failed requests without their contents, and ever more rarely for the same peer."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass

from gr00t_policy_core.errors import printable
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.wire.error_text import log_text

logger = logging.getLogger(__name__)

QUIET_S = 60.0  # after this long without a failure a peer's count restarts
MAX_PEERS = 1024
MAX_LOGGED_CHARS = 300


@dataclass(slots=True)
class _PeerFailures:
    count: int
    last_s: float


class FailureLog:
    """Logs the 1st, 2nd, 4th, 8th… failure of a peer, until the peer was quiet. Thread-safe.

    Args:
        metrics: Counts every failure that `report` receives.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._by_peer: OrderedDict[str, _PeerFailures] = OrderedDict()

    def report(
        self, what: str, peer: str, error: BaseException, connection: bytes | None = None
    ) -> None:
        """Count a failure of a client's request or connection, and log it if it is due.

        Args:
            what: What was asked for: an endpoint, "a request" or "a connection".
            peer: The client's network address, whose failures are counted together.
            error: The error that the client got, or would have got.
            connection: The client's connection, whose own count rises too.
        """
        self._metrics.error(type(error).__name__, connection)
        self.log(what, peer, error)

    def log(self, what: str, peer: str, error: BaseException) -> None:
        """Log a failure if it is due, and leave the metrics alone; the arguments are `report`'s."""
        count = self._count(peer)
        if count & (count - 1):
            return
        text = log_text(error)[:MAX_LOGGED_CHARS]
        total = f" ({count} failures of this peer so far)" if count > 2 else ""
        logger.error("%s from %s failed: %s%s", what, peer, text, total)
        if logger.isEnabledFor(logging.DEBUG):
            lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            trace = "\n".join(map(printable, lines.splitlines()))
            logger.debug("%s from %s failed\n%s", what, peer, trace)

    def _count(self, peer: str) -> int:
        now_s = time.monotonic()
        with self._lock:
            known = self._by_peer.get(peer)
            if known is None or now_s - known.last_s > QUIET_S:
                known = self._by_peer[peer] = _PeerFailures(0, now_s)
                if len(self._by_peer) > MAX_PEERS:
                    self._by_peer.popitem(last=False)
            self._by_peer.move_to_end(peer)
            known.count += 1
            known.last_s = now_s
            return known.count
