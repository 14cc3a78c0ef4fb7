# SPDX-License-Identifier: Apache-2.0
"""Rate limits on messages that are expensive to read.

Python runs one thread at a time, so a client whose messages take long to read takes that time from
all others. The cost of a message is counted in items: the keys, values and list items that the
msgpack reader visits one by one, 0.5 to 1 µs each. The messages of a robot cost almost nothing,
because they match a template (`gr00t_policy_core.serving.wire.message_templates`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

FREE_ITEMS = 200  # of each message: as many as a robot's has where no template matches
REJECTED_REQUEST_ITEMS = 250  # charged for a message that is malformed or has a wrong token
ADDRESS_ITEMS_PER_S = 50_000.0  # for all expensive messages of an address: some 4 % of a CPU
ADDRESS_BURST_ITEMS = 50_000.0
CONNECTION_ITEMS_PER_S = 1_000.0  # a connection below this rate is not paused
CONNECTION_BURST_ITEMS = 2_000.0
MAX_ADDRESSES = 1024  # remembered; beyond these the least recent is forgotten


class LeakyBucket:
    """A leaky bucket as a meter: usage fills it, and it drains at a steady rate. Thread-safe.

    Args:
        rate_per_s: By how much the level falls in a second.
        burst: The level up to which nobody has to wait.
    """

    __slots__ = ("_burst", "_level", "_lock", "_rate_per_s", "_updated_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._lock = threading.Lock()
        self._level = 0.0
        self._updated_s = 0.0

    def add(self, used: float) -> None:
        """Record usage."""
        with self._lock:
            now_s = time.monotonic()
            self._level = self._level_at(now_s) + used
            self._updated_s = now_s

    @property
    def wait_s(self) -> float:
        """How long until the level is down to `burst`."""
        if not self._level:
            return 0.0
        with self._lock:
            excess = self._level_at(time.monotonic()) - self._burst
            return max(0.0, excess) / self._rate_per_s

    def _level_at(self, now_s: float) -> float:
        return max(0.0, self._level - (now_s - self._updated_s) * self._rate_per_s)


class ConnectionRateLimiter:
    """Limits how fast the messages of one connection are read.

    Args:
        address_bucket: Shared by all connections of its address.
    """

    __slots__ = ("_address_bucket", "_bucket")

    def __init__(self, address_bucket: LeakyBucket) -> None:
        self._address_bucket = address_bucket
        self._bucket = LeakyBucket(CONNECTION_ITEMS_PER_S, CONNECTION_BURST_ITEMS)

    def charge(self, items: int) -> None:
        """Record that a message with so many items was read."""
        if items > FREE_ITEMS:
            self._bucket.add(items - FREE_ITEMS)
            self._address_bucket.add(items - FREE_ITEMS)

    @property
    def pause_s(self) -> float:
        """How long to leave the next message of this connection unread.

        That is as long as its address is over its rate. A connection that is below
        `CONNECTION_ITEMS_PER_S` itself is not paused for its neighbours.
        """
        return self._address_bucket.wait_s if self._bucket.wait_s else 0.0


class RateLimiter:
    """Keeps a bucket for each address, also across reconnections. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, LeakyBucket] = OrderedDict()

    def for_connection(self, address: str) -> ConnectionRateLimiter:
        """The limiter of a new connection of an address."""
        with self._lock:
            bucket = self._buckets.pop(address, None)
            if bucket is None:
                bucket = LeakyBucket(ADDRESS_ITEMS_PER_S, ADDRESS_BURST_ITEMS)
            self._buckets[address] = bucket
            if len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
            return ConnectionRateLimiter(bucket)
