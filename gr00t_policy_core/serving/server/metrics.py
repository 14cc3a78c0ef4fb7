# SPDX-License-Identifier: Apache-2.0
"""What a server counts: requests, errors, batches, waiting, bytes, and who its clients are."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.serving.transport.base import Message

# Upper bounds, s: from a policy that only replays to one that needs seconds.
TIME_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
CLIENT_SEEN_S = 60.0  # a client that asked nothing for so long counts no more
CLIENTS_KEPT = 1024


class Histogram:
    """Counts of values up to each of some bounds, the sum and the number of all."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
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
    """One client, by its connection."""

    peer: str
    first_s: float
    seen_s: float = 0.0
    requests: int = 0
    errors: int = 0
    answers: int = 0
    total_s: float = 0.0  # of all answers, from received to answered
    last_total_s: float = 0.0


@dataclass(slots=True)
class _Counts:
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    sent_bytes: int = 0


class Metrics:
    """Counts since the server began; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._counts = _Counts()
        self._batches = Histogram(BATCH_BOUNDS)
        self._queue = Histogram(TIME_BOUNDS_S)
        self._inference = Histogram(TIME_BOUNDS_S)
        self._clients: OrderedDict[bytes, ClientMetrics] = OrderedDict()

    def request(self, message: Message, endpoint: str) -> None:
        """A request for an endpoint that there is, from a client that may ask."""
        client = message.route[0]
        now_s = time.monotonic()
        with self._lock:
            self._counts.requests[endpoint] += 1
            self._counts.received_bytes += message.size
            known = self._clients.get(client)
            if known is None:
                known = self._clients[client] = ClientMetrics(message.peer, now_s)
                if len(self._clients) > CLIENTS_KEPT:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(client)
            known.seen_s = now_s
            known.requests += 1

    def error(self, kind: str, client: bytes | None = None) -> None:
        """A request that was answered with an error."""
        with self._lock:
            self._counts.errors[kind] += 1
            known = None if client is None else self._clients.get(client)
            if known is not None:
                known.errors += 1

    def sent(self, size: int) -> None:
        """A reply that went out."""
        with self._lock:
            self._counts.sent_bytes += size

    def batch(self, requests: int, inference_s: float) -> None:
        """One call of the policy for so many requests."""
        with self._lock:
            self._batches.add(requests)
            self._inference.add(inference_s)

    def answered(self, client: bytes, queue_s: float, total_s: float) -> None:
        """One action chunk for one client."""
        with self._lock:
            self._queue.add(queue_s)
            known = self._clients.get(client)
            if known is not None:
                known.answers += 1
                known.total_s += total_s
                known.last_total_s = total_s

    def snapshot(self) -> dict[str, Any]:
        """Everything, as plain data; times in s."""
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
    }


def quantile(histogram: Mapping[str, Any], share: float) -> float:
    """The bound under which a share of a histogram's values are; 0 where there are none.

    Args:
        histogram: As `Histogram.as_dict` makes it.
        share: 0.5 for the median.
    """
    rank = share * histogram["count"]
    seen = 0
    for bound, count in zip(histogram["bounds"], histogram["counts"], strict=False):
        seen += count
        if seen >= rank:
            return float(bound) if histogram["count"] else 0.0
    return float("inf")
