# SPDX-License-Identifier: Apache-2.0
"""Playback time: even where ticks tremble, standing still where they stall."""

from __future__ import annotations

import numpy as np
import pytest

from gr00t_policy_core.control.playback_clock import PlaybackClock

PERIOD_NS = 10_000_000
T0_NS = 1_700_000_000_000_000_000


def test_late_ticks_do_not_make_the_time_tremble() -> None:
    clock = PlaybackClock(PERIOD_NS)
    late_ns = np.random.default_rng(0).exponential(300_000, 2000)  # 0.3 ms
    now_ns = T0_NS + np.arange(2000) * PERIOD_NS + late_ns.astype(int)
    played_ns = np.array([clock.tick(int(now)).now_ns for now in now_ns])
    steps_ns = np.diff(played_ns)
    assert np.abs(steps_ns - PERIOD_NS).max() < 20_000
    assert np.abs(played_ns - now_ns).max() < PERIOD_NS


def test_the_real_time_is_followed_however_long_it_runs_fast() -> None:
    clock = PlaybackClock(PERIOD_NS)
    period_ns = round(PERIOD_NS * 1.0005)  # 500 ppm
    for tick in range(20_000):
        now_ns = T0_NS + tick * period_ns
        instant = clock.tick(now_ns)
        assert instant.stalled_ns == 0
    assert abs(instant.now_ns - now_ns) < 3_000_000


@pytest.mark.parametrize("late_periods", [1.0, 5.0, 300.0])
def test_a_stall_is_told_and_is_over_at_once(late_periods: float) -> None:
    clock = PlaybackClock(PERIOD_NS)
    clock.tick(T0_NS)
    now_ns = T0_NS + PERIOD_NS + round(late_periods * PERIOD_NS)
    instant = clock.tick(now_ns)
    assert (instant.now_ns, instant.stalled_ns) == (now_ns, round(late_periods * PERIOD_NS))
    after = clock.tick(now_ns + PERIOD_NS)
    assert (after.now_ns, after.stalled_ns) == (now_ns + PERIOD_NS, 0)


def test_an_instant_between_ticks_is_never_beyond_the_next_one() -> None:
    assert PlaybackClock(PERIOD_NS).at(T0_NS) == T0_NS
    clock = PlaybackClock(PERIOD_NS)
    clock.tick(T0_NS)
    assert clock.at(T0_NS + 3_000_000) == T0_NS + 3_000_000
    assert clock.at(T0_NS + 55_000_000) == T0_NS + PERIOD_NS
    assert clock.at(T0_NS - 1_000_000) == T0_NS


def test_a_first_tick_that_comes_late_after_a_chunk_is_a_stall() -> None:
    clock = PlaybackClock(PERIOD_NS)
    clock.at(T0_NS)
    assert clock.tick(T0_NS + 3 * PERIOD_NS).stalled_ns == 2 * PERIOD_NS


def test_a_clock_that_was_set_back_far_is_believed() -> None:
    clock = PlaybackClock(PERIOD_NS)
    clock.tick(T0_NS)
    assert clock.at(T0_NS - 60_000_000_000) == T0_NS - 60_000_000_000
    instant = clock.tick(T0_NS - 60_000_000_000)
    assert instant.now_ns == T0_NS - 60_000_000_000
    assert (instant.stalled_ns, instant.set_back_ns) == (0, 60_000_000_000)
