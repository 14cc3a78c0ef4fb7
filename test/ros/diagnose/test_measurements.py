# SPDX-License-Identifier: Apache-2.0
"""Faults of a known size are measured with that size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from run_rig import DT_S, JOINTS, T0_S, chunks, path, run_with

from gr00t_ros.diagnose.jitter import executed_steps, measure_jitter, measure_joint_jitter
from gr00t_ros.diagnose.lag import find_lag, find_lags, median_lag_s
from gr00t_ros.diagnose.latency import (
    BLENDING,
    CONTROLLER,
    MODEL,
    NETWORK,
    OBSERVATION,
    measure_latency,
)
from gr00t_ros.diagnose.rates import measure_rate
from gr00t_ros.diagnose.run import RunChunk, Series, Topic
from gr00t_ros.diagnose.takeovers import find_takeovers


@pytest.mark.parametrize("lag_s", [-0.05, 0.0, 0.013, 0.08, 0.25, 0.4])
@pytest.mark.parametrize("measured_hz", [100.0, 33.0])
def test_a_lag_is_found_with_its_size(lag_s: float, measured_hz: float) -> None:
    rng = np.random.default_rng(2)
    commanded_s = T0_S + np.arange(0, 10, 0.01)
    measured_s = T0_S + np.arange(0.003, 10, 1 / measured_hz)
    commands = Series(commanded_s, path(commanded_s))
    positions = path(measured_s - lag_s) + 0.0005 * rng.standard_normal((len(measured_s), 2))
    (lag, _) = find_lags(commands, Series(measured_s, positions))
    assert lag.lag_s == pytest.approx(lag_s, abs=0.005)
    assert lag.correlation > 0.9


def test_the_lag_of_each_joint_is_its_own() -> None:
    times_s = T0_S + np.arange(0, 10, 0.01)
    columns = [path(times_s - 0.03)[:, 0], path(times_s - 0.15)[:, 1]]
    measured = Series(times_s, np.stack(columns, axis=1))
    lags = find_lags(Series(times_s, path(times_s)), measured)
    assert_allclose([lag.lag_s for lag in lags], [0.03, 0.15], atol=0.004)
    assert median_lag_s(lags) == pytest.approx(0.09, abs=0.004)


def test_there_is_no_lag_without_motion_or_between_different_motions() -> None:
    times_s = T0_S + np.arange(0, 10, 0.01)
    still = Series(times_s, np.ones((len(times_s), 2)))
    moving = Series(times_s, path(times_s))
    noise = Series(times_s, np.random.default_rng(4).standard_normal((len(times_s), 2)))
    assert np.isnan(find_lag(still, moving, 0).lag_s)
    assert np.isnan(find_lag(moving, noise, 0).lag_s)
    assert np.isnan(find_lag(moving, Series(times_s[:5], path(times_s[:5])), 0).lag_s)


def test_commands_that_arrive_in_bursts_have_the_lag_of_even_ones() -> None:
    sent_s = T0_S + np.arange(0, 10, 0.01)
    received_s = np.floor(sent_s / 0.04) * 0.04 + 0.04 + np.arange(len(sent_s)) % 4 * 1e-4
    measured = Series(sent_s, path(sent_s - 0.12))
    lag = find_lag(Series(received_s, path(sent_s)), measured, 0)
    # They are received 10 to 40 ms after they are sent, in the mean 25.
    assert lag.lag_s == pytest.approx(0.12 - 0.025, abs=0.01)


def test_a_gap_in_the_measurement_changes_no_lag() -> None:
    times_s = T0_S + np.arange(0, 10, 0.01)
    kept = (times_s < T0_S + 3) | (times_s > T0_S + 5)
    measured = Series(times_s[kept], path(times_s[kept] - 0.08))
    lag = find_lag(Series(times_s, path(times_s)), measured, 0)
    assert lag.lag_s == pytest.approx(0.08, abs=0.002)


def test_the_budget_has_each_part_with_its_size() -> None:
    run = run_with(
        age_s=0.045,
        round_trip_s=0.07,
        blend_s=0.03,
        lag_s=0.08,
        policy_times_s=np.array([0.05, 0.051, 0.05]),
    )
    budget = measure_latency(run)
    assert budget.part(OBSERVATION).p50_s == pytest.approx(0.045, abs=1e-6)
    assert budget.part(MODEL).p50_s == pytest.approx(0.05)
    assert budget.part(NETWORK).p50_s == pytest.approx(0.02)
    assert budget.part(BLENDING).p50_s == pytest.approx(0.03, abs=0.005)
    assert budget.part(CONTROLLER).p50_s == pytest.approx(0.08, abs=0.005)
    assert budget.total_s == pytest.approx(0.225, abs=0.01)


def test_without_the_models_own_time_the_round_trip_counts_whole() -> None:
    budget = measure_latency(run_with(age_s=0.04, round_trip_s=0.07, lag_s=0.05))
    assert np.isnan(budget.part(MODEL).p50_s)
    assert budget.total_s == pytest.approx(0.04 + 0.07 + 0.05, abs=0.01)


def test_the_skew_of_the_cameras_is_measured_at_the_observations() -> None:
    def camera(name: str, offset_s: float) -> Topic:
        stamps_s = T0_S + np.arange(0, 12, 0.1) + offset_s
        return Topic(
            name=name, kind="", received_s=stamps_s + 0.01, stamps_s=stamps_s, is_camera=True
        )

    run = run_with(topics=(camera("front", 0.0), camera("wrist", 0.024)))
    assert measure_latency(run).skew.p50_s == pytest.approx(0.024, abs=1e-6)


def test_the_rate_of_uneven_stamps_is_their_mean_and_bursts_without_stamps_lose_nothing() -> None:
    uneven_s = T0_S + np.cumsum(np.tile([0.03, 0.03, 0.04], 40))  # 30 Hz by a clock of 10 ms
    rate = measure_rate(Topic(name="front", kind="", received_s=uneven_s, stamps_s=uneven_s))
    assert (rate.missing, rate.rate_hz) == (0, pytest.approx(30.0, rel=0.02))
    bursts_s = T0_S + np.repeat(np.arange(0, 6, 0.05), 5) + np.tile(np.arange(5) * 1e-4, 120)
    burst = Topic(name="commands", kind="", received_s=bursts_s, stamps_s=np.zeros(600))
    rate = measure_rate(burst)
    assert (rate.missing, rate.rate_hz) == (0, pytest.approx(100.0, rel=0.01))


def straight(chunk_id: int, t0_s: float, rows: list[list[float]]) -> RunChunk:
    values = np.array(rows)
    return RunChunk(chunk_id=chunk_id, t0_s=t0_s, received_s=t0_s, dt_s=DT_S, values=values)


def test_the_three_measures_are_those_of_the_guide_by_hand() -> None:
    first = straight(1, 0.0, [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    # Executed are three steps of the first chunk: its last is [3, 0], reached with [2, 0] a step.
    second = straight(2, 3 * DT_S, [[3.0, 3.0], [3.0, 5.0], [3.0, 7.0], [3.0, 9.0]])
    jitter = measure_jitter([first, second])
    bends = [1.0, np.hypot(-2.0, 4.0), 0.0, 0.0]
    assert executed_steps(first, second) == 3
    assert jitter.acceleration == pytest.approx(np.mean(bends))
    assert jitter.boundary_jump == pytest.approx(3.0)
    assert jitter.direction_agreement == pytest.approx(0.0)  # [2, 0] and [0, 2]


def test_with_whole_chunks_the_last_step_is_compared_with_the_next_first() -> None:
    """The guide's default, `execute_steps=None`, on random chunks."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(6, 8, 3))
    made = [straight(n, 1.0 * n, rows.tolist()) for n, rows in enumerate(values)]
    jitter = measure_jitter(made)
    second = values[:, 2:] - 2 * values[:, 1:-1] + values[:, :-2]
    ends, starts = values[:-1, -1] - values[:-1, -2], values[1:, 1] - values[1:, 0]
    lengths = np.linalg.norm(ends, axis=1) * np.linalg.norm(starts, axis=1)
    assert jitter.acceleration == pytest.approx(np.linalg.norm(second, axis=2).mean())
    expected = np.linalg.norm(values[1:, 0] - values[:-1, -1], axis=1).mean()
    assert jitter.boundary_jump == pytest.approx(expected)
    cosines = (ends * starts).sum(axis=1) / (lengths + 1e-8)
    assert jitter.direction_agreement == pytest.approx(cosines.mean())


def test_a_jump_of_every_second_chunk_is_measured_by_joint() -> None:
    smooth, jumping = chunks(), chunks(jump=0.3)
    for joint, _ in enumerate(JOINTS):
        before = measure_joint_jitter(smooth, joint).boundary_jump
        after = measure_joint_jitter(jumping, joint).boundary_jump
        assert after == pytest.approx(0.3, abs=before + 0.01)


def test_what_the_blend_takes_away_is_measured_at_each_takeover() -> None:
    takeovers = find_takeovers(run_with(jump=0.3))
    assert len(takeovers) == len(chunks()) - 1
    assert_allclose([np.abs(t.offsets) for t in takeovers], 0.3, atol=0.01)
    assert takeovers[0].time_s == pytest.approx(chunks()[1].received_s)
    assert find_takeovers(run_with(replan_s=1.0)) == []


def test_noise_within_chunks_is_measured_with_its_size() -> None:
    jitter = measure_joint_jitter(chunks(shake=0.1), 0)
    # The second difference of independent noise has sqrt(6) times its deviation; mean of |x|.
    expected = 0.1 * np.sqrt(6) * np.sqrt(2 / np.pi)
    assert jitter.acceleration == pytest.approx(expected, rel=0.15)


def test_missing_messages_and_the_longest_gap_are_counted() -> None:
    instants_s = T0_S + np.arange(300) / 30
    kept = np.delete(instants_s, [10, 50, 51, 52])
    topic = Topic(name="front", kind="", received_s=kept + 0.02, stamps_s=kept)
    rate = measure_rate(topic)
    assert (rate.messages, rate.missing) == (296, 4)
    assert rate.rate_hz == pytest.approx(30.0, rel=1e-3)
    assert rate.longest_gap_s == pytest.approx(4 / 30, rel=1e-3)
    assert rate.delay_p50_s == pytest.approx(0.02, abs=1e-6)
