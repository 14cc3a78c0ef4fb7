# SPDX-License-Identifier: Apache-2.0
"""Trajectories that come too late, and ticks that are missed."""

from __future__ import annotations

import numpy as np
from limit_checks import require_within
from look_ahead_rig import (
    JOINTS,
    LEAD_TICKS,
    LIMITS,
    PERIOD_NS,
    START_NS,
    STOP_TICKS,
    Run,
    late_run,
    moving_run,
    require_brake,
)

from gr00t_policy_core.control.player_settings import ObservationAgeLimit


def test_motion_that_is_allowed_again_stays_allowed_when_a_late_trajectory_is_dropped() -> None:
    run = moving_run()
    run.player.inhibit("emergency stop")
    run.tick_until_rest()
    run.player.inhibit("")
    run.offer(2)
    late = run.begin_late_forecast()
    assert late is not None
    run.player.retry(late, run.now_ns)
    run.tick(round(run.player.lead_s * 1e9 / PERIOD_NS) + 10)
    assert not run.commands[-1].holding
    assert not run.player.refusal


def test_a_late_trajectory_is_planned_again_from_where_the_robot_is() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.measured = before.row_at(run.now_ns)
    run.player.retry(forecast, run.now_ns)
    run.tick()
    tick, after = run.sent[-1]
    assert tick == run.tick_number
    departs_ns = run.now_ns + LEAD_TICKS * PERIOD_NS
    for instant_ns in range(run.now_ns, departs_ns - PERIOD_NS, PERIOD_NS):
        assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-9)
    for joint in range(JOINTS):
        require_within(after.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)
    run.tick(20)
    assert run.commands[-1].chunk_id == 2
    assert not run.player.refusal


def test_a_chunk_that_is_late_a_second_time_is_refused_and_the_robot_stays_on_its_path() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.player.retry(forecast, run.now_ns)
    again = run.begin_late_forecast()
    assert again is not None
    run.player.retry(again, run.now_ns)
    assert "chunk 2: its trajectory was ready after" in run.player.refusal
    assert "trajectory_lead_s 0.1 is too short" in run.player.refusal
    run.measured = before.row_at(run.now_ns)
    run.tick_until_rest()
    assert len(run.sent) == 1
    assert np.allclose(run.commands[-1].vector, before.rows[-1])
    assert not run.player.fault


def test_a_first_chunk_that_is_late_twice_leaves_the_robot_where_it_is() -> None:
    """The player is made with its first chunk: no tick comes before it."""
    run = Run()
    run.player.measure(dict(enumerate(run.measured.tolist())), run.now_ns)
    run.offer(age_s=0.0)
    for _ in range(2):
        late = run.begin_late_forecast()
        assert late is not None
        trajectory = late.run()
        assert trajectory is not None
        assert run.player.is_too_late(trajectory, run.now_ns)
        run.player.retry(late, run.now_ns)
    assert "its trajectory was ready after" in run.player.refusal
    run.tick(60)
    assert not run.sent
    assert not run.commands


def test_a_stop_cancels_the_forecast_under_way_and_brakes_on_the_path_that_was_sent() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.measured = before.row_at(run.now_ns)
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    assert not run.player.awaits(forecast)
    run.player.retry(forecast, run.now_ns)  # changes nothing
    run.tick()
    assert len(run.sent) == 2
    require_brake(run, stopped_at, before)


def test_missed_ticks_are_made_up_for_since_the_controller_goes_on() -> None:
    run = moving_run()
    run.tick_number += 25  # the process was not running
    run.measured = run.sent[0][1].rows[len(run.commands) + 25]
    run.tick()
    expected = run.sent[0][1].rows[len(run.commands) - 1 + 25]
    assert np.array_equal(run.commands[-1].vector, expected)
    assert not run.player.fault
    assert run.player.counts.stalls == 0
    assert len(run.sent) == 1


def test_after_a_longer_pause_a_new_trajectory_is_sent() -> None:
    run = moving_run(observation_age=ObservationAgeLimit(60.0))
    run.offer(2)
    run.tick(5)
    sent = len(run.sent)
    run.tick_number += 300
    run.tick(3)
    run.tick_until_rest()
    assert len(run.sent) > sent or run.commands[-1].at_rest


def test_a_chunk_that_came_just_before_a_pause_is_refused_and_not_just_forgotten() -> None:
    run = moving_run(observation_age=ObservationAgeLimit(60.0))
    accepted = run.player.counts.chunks
    run.offer(2)
    run.tick_number += 300
    run.tick()
    counts = run.player.counts
    assert (counts.chunks, counts.refused) == (accepted, 1)
    assert run.player.refusal == (
        "chunk 2: the control loop stood still before its trajectory was sent"
    )
    run.offer(3)
    assert not run.player.refusal


def test_the_fallback_of_a_late_forecast_begins_on_the_path_that_was_sent() -> None:
    run, _ = late_run()
    brake = run.player.fallback_brake(run.now_ns)
    assert brake is not None
    for ticks in range(STOP_TICKS + 1):
        expected = run.sent[0][1].row_at(run.now_ns + ticks * PERIOD_NS)
        assert np.allclose(brake.step(), expected, atol=1e-3)


def test_a_short_way_outlasts_its_way_to_the_controller() -> None:
    """A controller rejects a trajectory that has ended, and goes on with the one before."""
    run = moving_run()
    run.tick_until_rest()
    here = run.measured.copy()
    for _ in range(3):
        run.player.steer(here + 0.001, run.now_ns)
        run.tick(LEAD_TICKS)
    tick, way = run.sent[-1]
    departs_ns = START_NS + (tick + LEAD_TICKS) * PERIOD_NS
    assert np.ptp(way.rows[LEAD_TICKS + 30 :], axis=0).max() == 0.0  # it is short
    assert way.end_ns > departs_ns + 0.4e9
    assert not run.player.is_too_late(way, run.now_ns)
    assert run.player.is_too_late(way, way.end_ns)
