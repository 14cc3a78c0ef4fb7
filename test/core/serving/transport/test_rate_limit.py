# SPDX-License-Identifier: Apache-2.0
"""Rate limits on messages that are expensive to read."""

from types import SimpleNamespace

import pytest

from gr00t_policy_core.serving.transport import rate_limit
from gr00t_policy_core.serving.transport.rate_limit import (
    FREE_ITEMS,
    ConnectionRateLimiter,
    LeakyBucket,
    RateLimiter,
)


def test_a_bucket_drains_at_its_rate(monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    bucket = LeakyBucket(rate_per_s=0.1, burst=0.5)
    assert bucket.wait_s == 0.0
    bucket.add(0.5)
    assert bucket.wait_s == 0.0
    bucket.add(1.0)
    assert bucket.wait_s == pytest.approx(10.0)
    clock.now_s += 4.0
    assert bucket.wait_s == pytest.approx(6.0)
    clock.now_s += 1000.0
    assert bucket.wait_s == 0.0
    bucket.add(0.6)
    assert bucket.wait_s == pytest.approx(1.0)


def test_connections_of_one_address_share_its_bucket_also_after_a_reconnection():
    limiter = RateLimiter()
    first = limiter.for_connection("A")
    first.charge(10**6)
    reconnected, elsewhere = limiter.for_connection("A"), limiter.for_connection("B")
    for connection in (reconnected, elsewhere):
        assert connection.pause_s == 0.0
        connection.charge(10_000)
    assert reconnected.pause_s > 0
    assert elsewhere.pause_s == 0.0
    assert first.pause_s > 0


def test_the_messages_of_a_robot_are_free():
    connection = ConnectionRateLimiter(LeakyBucket(rate_per_s=1e-9, burst=0.0))
    for _ in range(1000):
        connection.charge(FREE_ITEMS)
    assert connection.pause_s == 0.0
