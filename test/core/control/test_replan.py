# SPDX-License-Identifier: Apache-2.0
"""When the policy is asked next."""

import pytest

from gr00t_policy_core.control.replan import LATENCIES, RAMP_DOWN_S, LatencyEstimate, ReplanTimer

CHUNK_S = 1.5
MARGIN_S = 0.05 + RAMP_DOWN_S


def timer(*, interval_s: float | None = None, sync: bool = False) -> ReplanTimer:
    return ReplanTimer(chunk_s=CHUNK_S, step_s=0.05, interval_s=interval_s, sync=sync)


def test_no_latency_is_known_before_the_first_answer() -> None:
    assert LatencyEstimate().value_s == 0.0


def test_one_spike_among_ten_does_not_move_the_latency() -> None:
    estimate = LatencyEstimate()
    for latency_s in [0.1] * 5 + [3.0] + [0.1] * 5:
        estimate.add(latency_s)
    assert estimate.value_s == 0.1


def test_a_latency_that_comes_again_and_again_is_heeded() -> None:
    estimate = LatencyEstimate()
    for number in range(30):
        estimate.add(0.3 if number % 4 == 0 else 0.1)
    assert estimate.value_s == 0.3


def test_what_was_long_ago_is_forgotten() -> None:
    estimate = LatencyEstimate()
    for latency_s in [2.0] * LATENCIES + [0.1] * LATENCIES:
        estimate.add(latency_s)
    assert estimate.value_s == 0.1


@pytest.mark.parametrize("latency_s", [0.03, 0.35])
def test_the_answer_comes_a_margin_before_the_chunk_is_used_up(latency_s: float) -> None:
    asking = timer()
    due_s = asking.next_s(observed_s=99.9, asked_s=100.0, answered_s=100.0 + latency_s)
    assert due_s + latency_s == pytest.approx(99.9 + CHUNK_S - MARGIN_S)
    assert asking.interval_s == CHUNK_S


def test_a_policy_slower_than_its_chunk_is_asked_again_at_once() -> None:
    due_s = timer().next_s(observed_s=99.9, asked_s=100.0, answered_s=102.0)
    assert due_s < 102.0


def test_an_interval_is_kept_by_the_clock_whatever_the_latency() -> None:
    asking, asked_s, beats = timer(interval_s=0.2), 100.0, []
    for late_s in (0.0, 0.013, 0.004, 0.02):
        due_s = asking.next_s(observed_s=asked_s, asked_s=asked_s, answered_s=asked_s + 0.05)
        beats.append(due_s)
        asked_s = due_s + late_s
    assert beats == pytest.approx([100.2, 100.4, 100.6, 100.8])
    assert asking.interval_s == 0.2


@pytest.mark.parametrize("jump_s", [7.0, -90.0])
def test_after_a_stall_or_a_clock_that_was_set_back_the_beat_starts_anew(jump_s: float) -> None:
    asking = timer(interval_s=0.2)
    asking.next_s(observed_s=100.0, asked_s=100.0, answered_s=100.05)
    asked_s = 100.2 + jump_s
    due_s = asking.next_s(observed_s=asked_s, asked_s=asked_s, answered_s=asked_s)
    assert due_s == pytest.approx(asked_s + 0.2)


def test_in_turn_the_policy_is_asked_once_the_whole_chunk_was_played() -> None:
    asking = timer(interval_s=0.2, sync=True)
    due_s = asking.next_s(observed_s=100.0, asked_s=100.0, answered_s=100.3)
    assert due_s == pytest.approx(100.3 + CHUNK_S + MARGIN_S)
    assert asking.interval_s == CHUNK_S


def test_a_clock_set_back_during_an_inference_makes_no_negative_latency() -> None:
    asking = timer()
    asking.next_s(observed_s=100.0, asked_s=100.0, answered_s=40.0)
    assert asking.latency.value_s == 0.0
