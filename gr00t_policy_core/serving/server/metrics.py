# SPDX-License-Identifier: Apache-2.0
"""Counts of a server: requests, errors, batches, waiting times, bytes, and its clients."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire.client_info import ClientInfo

# Upper bounds in s: from a policy that replays a dataset to one that needs seconds.
TIME_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
CLIENT_SEEN_S = 60.0  # a client that sent no request for this long is not listed
MAX_CLIENTS = 1024


class Histogram:
    """Counts of values by upper bound, and the sum of all values.

    Args:
        bounds: The inclusive upper bounds of the buckets, in rising order. A further bucket counts
            the values above the last one.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def as_dict(self) -> dict[str, Any]:
        """``{"bounds": [...], "counts": [...], "sum", "count"}``; one count more than bounds."""
        return {
            "bounds": list(self.bounds),
            "counts": list(self._counts),
            "sum": self._sum,
            "count": sum(self._counts),
        }


@dataclass(slots=True)
class ClientMetrics:
    """The counts of one connection."""

    peer: str
    first_s: float
    seen_s: float = 0.0
    requests: int = 0
    errors: int = 0
    answers: int = 0
    total_s: float = 0.0  # of all answers together, from request to reply
    last_total_s: float = 0.0
    info: ClientInfo | None = None  # the newest that the client told


@dataclass(slots=True)
class _Counts:
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    sent_bytes: int = 0


class Metrics:
    """All counts since the server was made. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._counts = _Counts()
        self._batches = Histogram(BATCH_BOUNDS)
        self._queue = Histogram(TIME_BOUNDS_S)
        self._inference = Histogram(TIME_BOUNDS_S)
        self._clients: OrderedDict[bytes, ClientMetrics] = OrderedDict()

    def request(self, message: Message, endpoint: str) -> None:
        """Count an admitted request for a known endpoint."""
        connection = message.route[0]
        now_s = time.monotonic()
        with self._lock:
            self._counts.requests[endpoint] += 1
            self._counts.received_bytes += message.size
            known = self._clients.get(connection)
            if known is None:
                known = self._clients[connection] = ClientMetrics(message.peer, now_s)
                if len(self._clients) > MAX_CLIENTS:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(connection)
            known.seen_s = now_s
            known.requests += 1

    def error(self, kind: str, connection: bytes | None = None) -> None:
        """Count a request or a connection that ended in an error.

        Args:
            kind: The class name of the error.
            connection: The name of the connection, where there is one.
        """
        with self._lock:
            self._counts.errors[kind] += 1
            known = None if connection is None else self._clients.get(connection)
            if known is not None:
                known.errors += 1

    def sent(self, size: int) -> None:
        """Count a reply of `size` bytes."""
        with self._lock:
            self._counts.sent_bytes += size

    def batch(self, requests: int, inference_s: float) -> None:
        """Count one call of the policy, which answered `requests` requests in `inference_s`."""
        with self._lock:
            self._batches.add(requests)
            self._inference.add(inference_s)

    def answered(
        self, connection: bytes, queue_s: float, total_s: float, info: ClientInfo | None = None
    ) -> None:
        """Count an action chunk for a client.

        Args:
            connection: The name of the client's connection.
            queue_s: From the request to the call of the policy.
            total_s: From the request to the reply.
            info: What the client told about its robot; None leaves what it told before.
        """
        with self._lock:
            self._queue.add(queue_s)
            known = self._clients.get(connection)
            if known is not None:
                known.answers += 1
                known.total_s += total_s
                known.last_total_s = total_s
                known.info = known.info if info is None else info

    def told(self, connection: bytes, info: ClientInfo) -> None:
        """Keep what a client tells about its robot without asking for an action."""
        with self._lock:
            known = self._clients.get(connection)
            if known is not None:
                known.info = info

    def snapshot(self) -> dict[str, Any]:
        """All counts as plain data; times in s."""
        now_s = time.monotonic()
        with self._lock:
            present = [c for c in self._clients.values() if now_s - c.seen_s < CLIENT_SEEN_S]
            return {
                "uptime_s": now_s - self._started_s,
                "requests": dict(self._counts.requests),
                "errors": dict(self._counts.errors),
                "received_bytes": self._counts.received_bytes,
                "sent_bytes": self._counts.sent_bytes,
                "batch_size": self._batches.as_dict(),
                "queue_s": self._queue.as_dict(),
                "inference_s": self._inference.as_dict(),
                "clients": [_client(c, now_s) for c in present],
            }


def _client(client: ClientMetrics, now_s: float) -> dict[str, Any]:
    return {
        "peer": client.peer,
        "connected_s": now_s - client.first_s,
        "idle_s": now_s - client.seen_s,
        "requests": client.requests,
        "errors": client.errors,
        "answers": client.answers,
        "total_s": client.total_s,
        "last_total_s": client.last_total_s,
        "info": None if client.info is None else client.info.as_dict(),
    }


def quantile(histogram: Mapping[str, Any], share: float) -> float:
    """The bound below which a share of a histogram's values lie; 0 where it has no values.

    Args:
        histogram: A histogram as plain data, from `Histogram.as_dict`.
        share: The share, between 0 and 1; 0.5 gives the median.
    """
    rank = share * histogram["count"]
    seen = 0
    for bound, count in zip(histogram["bounds"], histogram["counts"], strict=False):
        seen += count
        if seen >= rank:
            return float(bound) if histogram["count"] else 0.0
    return float("inf")
