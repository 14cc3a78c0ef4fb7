# SPDX-License-Identifier: Apache-2.0
"""Latencies of the last minute."""

from __future__ import annotations

import math

import pytest

from gr00t_ros.node.latency_window import WINDOW_S, LatencyWindow


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_before_the_first_latency_none_is_known(clock: Clock) -> None:
    statistics = LatencyWindow(10, now_s=clock).statistics()
    assert math.isnan(statistics.last_s)
    assert math.isnan(statistics.p50_s)
    assert math.isnan(statistics.p99_s)


def test_the_newest_the_median_and_the_99th_percentile_are_told(clock: Clock) -> None:
    window = LatencyWindow(1000, now_s=clock)
    for value in (*range(101), 7):
        window.add(float(value))
    statistics = window.statistics()
    assert statistics.last_s == 7.0
    assert statistics.p50_s == pytest.approx(50.0, abs=1.0)
    assert statistics.p99_s == pytest.approx(99.0, abs=1.0)


def test_what_is_older_than_a_minute_does_not_count(clock: Clock) -> None:
    window = LatencyWindow(10, now_s=clock)
    window.add(5.0)
    clock.now_s += WINDOW_S / 2
    window.add(1.0)
    clock.now_s += WINDOW_S / 2 + 1.0
    assert window.statistics().p99_s == 1.0
    clock.now_s += WINDOW_S
    statistics = window.statistics()
    assert statistics.last_s == 1.0
    assert math.isnan(statistics.p50_s)


def test_of_more_than_fit_the_newest_count(clock: Clock) -> None:
    window = LatencyWindow(3, now_s=clock)
    for value in (100.0, 1.0, 2.0, 3.0):
        window.add(value)
    assert window.statistics().p50_s == 2.0
    assert window.statistics().p99_s <= 3.0


def test_a_latency_that_is_not_known_is_left_out(clock: Clock) -> None:
    window = LatencyWindow(3, now_s=clock)
    window.add(math.nan)
    window.add(2.0)
    window.add(math.inf)
    statistics = window.statistics()
    assert (statistics.last_s, statistics.p99_s) == (2.0, 2.0)
