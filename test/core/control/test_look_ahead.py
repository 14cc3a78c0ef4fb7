# SPDX-License-Identifier: Apache-2.0
"""A player ahead of the present: what it forecasts is what it commands, one lead later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from limit_checks import require_within
from look_ahead_rig import (
    JOINTS,
    LEAD_TICKS,
    LIMITS,
    PERIOD_NS,
    START_NS,
    Run,
    moving_run,
    require_brake,
)

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import (
    RecordingPlayer,
    read_events,
    replay,
    write_events,
)


def test_a_trajectory_is_what_is_commanded_afterwards_to_the_bit() -> None:
    run = moving_run()
    run.tick_until_rest()
    [(tick, trajectory)] = run.sent  # nothing happened: it is sent once
    path = run.path()
    assert np.array_equal(path[: len(trajectory.rows)], trajectory.rows[: len(path)])
    assert (path[len(trajectory.rows) :] == trajectory.rows[-1]).all()
    assert trajectory.start_ns - (START_NS + tick * PERIOD_NS) <= LEAD_TICKS * PERIOD_NS + 2_000_000
    assert not trajectory.velocities()[-1].any()
    assert not trajectory.accelerations()[-1].any()


def test_each_chunk_sends_one_trajectory_that_begins_as_the_one_before_goes_on() -> None:
    run = moving_run()
    for number in range(2, 6):
        run.offer(number)
        run.tick(30)
    run.tick_until_rest()
    assert len(run.sent) == 5
    for (_, before), (_, after) in zip(run.sent, run.sent[1:], strict=False):
        for ticks in range(LEAD_TICKS):
            instant_ns = after.start_ns + ticks * PERIOD_NS
            assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-12)


def test_all_trajectories_keep_the_limits_from_their_first_point_to_their_last() -> None:
    run = moving_run()
    for number in range(2, 8):
        run.offer(number, amplitude=0.5 + 0.3 * number)
        run.tick(20)
    run.tick_until_rest()
    for _, trajectory in run.sent:
        for joint in range(JOINTS):
            require_within(trajectory.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)


def test_a_person_steers_by_trajectories_that_keep_the_limits_and_blend_from_the_chunk() -> None:
    run = moving_run()
    for step in range(60):
        if step % 3 == 0:
            target = run.commands[-1].vector + 0.05 * np.array([1.0, -1.0, 0.5])
            run.player.steer(target, run.now_ns)
        run.tick()
    assert run.player.is_steered
    assert len(run.sent) >= 10
    for (_, before), (tick, after) in zip(run.sent, run.sent[1:], strict=False):
        for ticks in range(LEAD_TICKS - 1):
            instant_ns = START_NS + (tick + ticks) * PERIOD_NS
            assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-3)
    stopped_at, before = run.tick_number, run.sent[-1][1]
    run.player.hold(run.now_ns, "the person has let go")
    run.tick()
    assert not run.player.is_steered
    require_brake(run, stopped_at, before)
    for _, trajectory in run.sent:
        for joint in range(JOINTS):
            require_within(trajectory.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)


def test_a_person_who_falls_silent_is_in_the_trajectory_from_the_beginning() -> None:
    run = moving_run(steering_timeout_s=0.3)
    run.player.steer(run.commands[-1].vector + 0.2, run.now_ns)
    run.tick(2)
    sent = len(run.sent)
    run.tick_until_rest()
    assert len(run.sent) == sent
    assert "no teleoperation command came" in run.player.reason


def test_measurements_are_compared_with_the_command_of_their_time() -> None:
    """The lead is 0.1 s: at 0.5 rad/s the newest command is 0.05 rad away from the robot."""
    run = moving_run(max_following_errors=dict.fromkeys(range(JOINTS), 0.02))
    run.tick_until_rest()
    assert not run.player.fault
    assert np.ptp(run.path()[:, 0]) > 0.2


def test_a_refused_chunk_changes_nothing() -> None:
    run = moving_run()
    with pytest.raises(ChunkRefusedError, match="older observation"):
        run.offer(2, age_s=0.9)
    run.tick_until_rest()
    assert len(run.sent) == 1
    assert run.player.counts.refused == 1


def test_what_was_commanded_at_rest_is_left_out_where_it_was_not_published() -> None:
    run = Run(silent_at_rest=True)
    run.tick(3)
    run.offer()
    run.tick_until_rest()
    run.tick(50)
    run.measured = run.measured + 0.3  # somebody moves the silent robot
    run.tick(5)
    run.offer(2)
    run.tick(2)
    first = run.sent[-1][1].rows[0]
    assert np.allclose(first, run.measured, atol=0.01)


def test_the_report_is_of_the_present() -> None:
    run = moving_run()
    for joint, one in enumerate(run.player.report()):
        assert one.command == pytest.approx(run.commands[-1].vector[joint])
        assert one.measured == pytest.approx(run.commands[-2].vector[joint], abs=0.01)


def test_a_recorded_run_replays_on_a_player_without_a_lead(tmp_path: Path) -> None:
    run = Run(is_recorded=True)
    run.tick(3)
    run.offer()
    run.tick(60)
    run.player.hold(run.now_ns, "enough")
    run.tick(60)
    require_replay(run, tmp_path / "run")


def test_a_recorded_run_in_which_the_robot_braked_at_once_replays_to_the_bit(
    tmp_path: Path,
) -> None:
    run = Run(is_recorded=True)
    run.tick(3)
    run.offer()
    run.tick(40)
    run.player.hold(run.now_ns, "enough")
    late = run.begin_late_forecast()
    for _ in range(5):
        run.tick_number += 1
        run.player.tick(run.now_ns)
    assert late is not None
    at_once = run.player.retry(late, run.now_ns)
    assert at_once is not None
    run.sent.append((run.tick_number, at_once))
    begun = len(run.commands)
    for _ in range(60):
        run.measured = at_once.row_at(run.now_ns)
        run.tick()
    assert len(run.sent) == 2
    for number, command in enumerate(run.commands[begun:], start=1):
        instant_ns = run.now_ns - (60 - number) * PERIOD_NS
        assert np.allclose(command.vector, at_once.row_at(instant_ns), atol=1e-9)
    run.commands = run.commands[begun:]
    require_replay(run, tmp_path / "run")


def require_replay(run: Run, file: Path) -> None:
    """The recording holds the commands of the run, to the bit."""
    recorded = run.player.player
    assert isinstance(recorded, RecordingPlayer)
    write_events(file, recorded.events)
    player = MotionPlayer(run.layout, run.settings)
    replayed = [c.vector for c in replay(read_events(file), player) if c is not None]
    end = len(replayed) - round(run.player.lead_s * 1e9 / PERIOD_NS)
    assert np.array_equal(np.stack(replayed[end - len(run.commands) : end]), run.path())
