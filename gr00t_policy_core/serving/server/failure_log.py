# SPDX-License-Identifier: Apache-2.0
"""Failed requests in the log: without what was in them, and ever less of the same peer."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass

from gr00t_policy_core.errors import printable
from gr00t_policy_core.serving.wire.error_text import log_text

logger = logging.getLogger("gr00t_policy_core.serving.server.policy_server")

QUIET_S = 60.0  # a peer that failed so long ago starts afresh
PEERS_KEPT = 1024


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float


class FailureLog:
    """Logs the 1st, 2nd, 4th, 8th… failure of a peer, until it has been quiet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_peer: OrderedDict[str, _Failures] = OrderedDict()

    def add(self, what: str, peer: str, error: BaseException) -> None:
        """Log a failure, or only count it.

        Args:
            what: Was asked for.
            peer: Its network address.
            error: What became of it.
        """
        count = self._count(peer)
        if count & (count - 1):
            return
        text = log_text(error)[:300]
        often = f" ({count} failures of this peer by now)" if count > 2 else ""
        logger.error("%s from %s failed: %s%s", what, peer, text, often)
        if logger.isEnabledFor(logging.DEBUG):
            lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            trace = "\n".join(map(printable, lines.splitlines()))
            logger.debug("%s from %s failed\n%s", what, peer, trace)

    def _count(self, peer: str) -> int:
        now_s = time.monotonic()
        with self._lock:
            known = self._by_peer.get(peer)
            if known is None or now_s - known.last_s > QUIET_S:
                known = self._by_peer[peer] = _Failures(0, now_s)
                if len(self._by_peer) > PEERS_KEPT:
                    self._by_peer.popitem(last=False)
            self._by_peer.move_to_end(peer)
            known.count += 1
            known.last_s = now_s
            return known.count
