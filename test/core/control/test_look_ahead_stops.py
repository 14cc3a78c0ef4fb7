# SPDX-License-Identifier: Apache-2.0
"""Stops of a player that looks ahead: at once, on the path that was sent, inside the limits."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from look_ahead_rig import (
    JOINTS,
    LIMITS,
    PERIOD_NS,
    STOP_TICKS,
    Run,
    moving_run,
    require_brake,
)

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_settings import ObservationAgeLimit


def test_a_stop_sends_a_braking_trajectory_at_once_and_does_not_wait_for_the_lead() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    run.tick()
    assert len(run.sent) == 2
    require_brake(run, stopped_at, run.sent[0][1])
    assert run.player.reason == "enough"
    for joint in range(JOINTS):
        require_within(run.path()[:, joint], LIMITS, PERIOD_NS * 1e-9)


def test_an_inhibition_brakes_at_once_and_what_was_stopped_does_not_go_on_afterwards() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    run.player.inhibit("emergency stop")
    run.tick()
    run.player.inhibit("")
    require_brake(run, stopped_at, run.sent[0][1])
    with pytest.raises(ChunkRefusedError, match="older observation"):
        run.offer(2, age_s=2.0)
    run.offer(3)
    run.tick(20)
    assert not run.commands[-1].holding


def test_a_chunk_that_is_stopped_before_the_robot_departs_is_never_played() -> None:
    run = moving_run()
    run.offer(2, amplitude=1.0)
    run.tick(3)
    before, sent = run.sent[0][1], len(run.sent)
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    run.tick()
    assert len(run.sent) == sent + 1
    require_brake(run, stopped_at, before)
    assert {command.chunk_id for command in run.commands} == {1}


def test_a_robot_that_was_sent_a_path_and_stops_before_it_departs_is_at_rest_once_told_to() -> None:
    run = Run()
    run.tick(3)
    run.offer()
    run.tick(2)
    assert len(run.sent) == 1
    assert not run.commands  # it has not departed yet
    assert not run.player.is_at_rest
    run.player.hold(run.now_ns, "enough")
    assert not run.player.is_at_rest
    run.tick()
    assert run.player.is_at_rest
    assert len(run.sent) == 2
    assert not np.ptp(run.sent[-1][1].rows, axis=0).max()


def test_a_second_stop_within_the_lead_does_not_undo_the_first() -> None:
    run = moving_run()
    run.player.hold(run.now_ns, "enough")
    run.tick()
    braking = run.sent[-1][1]
    run.tick()
    run.player.inhibit("emergency stop")
    run.tick_until_rest()
    assert np.array_equal(run.commands[-1].vector, braking.rows[-1])
    assert len(run.sent) == 2


def test_new_limits_bring_the_robot_to_rest_at_once_and_count_from_then_on() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    slow = JointLimits(-3.0, 3.0, 0.2, 2.0, 50.0)
    run.player.change_limits(dict.fromkeys(range(JOINTS), slow), run.now_ns)
    run.tick()
    require_brake(run, stopped_at, run.sent[0][1])
    run.tick(20)
    begins = len(run.commands)
    run.offer(2)
    run.tick(60)
    require_within(run.path()[begins:, 0], slow, PERIOD_NS * 1e-9)


def test_a_short_stop_outlasts_its_way_to_the_controller() -> None:
    run = moving_run()
    run.player.hold(run.now_ns, "enough")
    run.tick()
    braking = run.sent[-1][1]
    assert len(braking.rows) * PERIOD_NS > 0.5e9
    assert np.ptp(braking.rows[-50:], axis=0).max() == 0.0


def test_the_counts_are_never_taken_back() -> None:
    run = moving_run()
    ticks, chunks = 0, 0
    for number in range(2, 8):
        run.offer(number)
        for _ in range(number):
            run.tick()
            counts = run.player.counts
            assert (counts.ticks, counts.chunks) >= (ticks, chunks)
            ticks, chunks = counts.ticks, counts.chunks
        run.player.hold(run.now_ns, "enough")
    run.tick_until_rest()
    assert run.player.counts.chunks < 7  # those of which nothing was played do not count


def test_a_forecast_contains_the_stop_that_an_old_observation_will_cause() -> None:
    run = Run(observation_age=ObservationAgeLimit(0.4))
    run.tick(3)
    run.offer()
    run.tick(12)
    run.tick_until_rest()
    assert len(run.sent) == 1  # the stop was in the trajectory from the beginning
    assert "is 0.4" in run.player.reason


def test_a_joint_that_does_not_follow_stops_the_robot_by_a_trajectory() -> None:
    run = moving_run()
    stuck = run.measured.copy()
    for _ in range(200):
        run.tick()
        run.measured = stuck
        if run.player.fault:
            break
    assert "does not follow" in run.player.fault
    stopped_at = run.tick_number
    run.tick(60)
    assert len(run.sent) == 2
    assert run.sent[1][0] == stopped_at
    assert run.commands[-1].at_rest
    braking = run.sent[1][1]
    assert np.ptp(braking.rows[STOP_TICKS + 40 :], axis=0).max() == 0.0


def test_measurements_that_stop_coming_stop_the_robot() -> None:
    run = moving_run(max_following_errors={}, observation_age=ObservationAgeLimit(60.0))
    run.is_measured = False
    run.tick_until_rest()
    assert "the limit is 0.5 s" in run.player.reason


def test_the_fallback_goes_through_the_commands_to_come_and_then_brakes() -> None:
    run = moving_run()
    brake = run.player.fallback_brake(run.now_ns + PERIOD_NS)
    assert brake is not None
    planned = run.sent[0][1]
    here = len(run.commands)
    rows = []
    while not brake.is_at_rest:
        rows.append(brake.step())
    for ticks in range(STOP_TICKS):
        assert np.array_equal(rows[ticks], planned.rows[here + ticks])
    speeds = np.abs(np.diff(np.stack(rows), axis=0)).max(axis=1)
    assert (np.diff(speeds[STOP_TICKS:]) <= 1e-12).all()


def test_a_stopped_robot_that_was_moved_is_sent_no_way_from_where_it_was_held() -> None:
    """Its controller may have been off meanwhile, and have begun again where the robot was."""
    run = moving_run()
    run.player.inhibit("stopped by ~/stop")
    run.tick_until_rest()
    sent, home = len(run.sent), run.measured + 0.3
    for share in np.linspace(0.0, 1.0, 50):
        run.tick()
        run.measured = home - 0.3 * (1.0 - share)
    for _ in range(150):
        run.tick()
        run.measured = home
    assert len(run.sent) == sent + 1
    _, trajectory = run.sent[-1]
    assert np.allclose(trajectory.rows, home, atol=1e-6)
    run.player.inhibit("")
    run.tick(5)
    t0_ns = run.now_ns - 10**8
    rows = np.repeat(home[None], 16, axis=0) + 0.02 * np.arange(16)[:, None]
    run.player.offer(Chunk(2, t0_ns, 0.05, {"arm": rows}), run.now_ns)
    run.tick(30)
    _, trajectory = run.sent[-1]
    assert len(run.sent) == sent + 2
    assert np.allclose(trajectory.rows[0], home, atol=1e-6)
