# SPDX-License-Identifier: Apache-2.0
"""What somebody pushes while the robot is stopped does not keep all else from its stop."""

from __future__ import annotations

import pytest
from limit_checks import require_within
from look_ahead_rig import LIMITS, PERIOD_NS
from two_arms import KEYS, Robot, about_to_move

from gr00t_policy_core.control.recording import RecordingPlayer, replay

STOP_TICKS = 40  # at the speed of these chunks no way to rest takes longer, however late it is sent
MOVED = 0.02  # nobody is held where they have pushed the robot by less, rad


def require_stopped(robot: Robot, pushed: str) -> None:
    """The arms that nobody pushes rest from now on, and no trajectory is beyond the limits."""
    slices, now_ns = robot.layout.slices, robot.now_ns
    here = {key: sent[-1].row_at(now_ns)[slices[key]] for key, sent in robot.sent.items()}
    robot.tick(300)
    for key, trajectories in robot.sent.items():
        if key != pushed:
            assert robot.arms[key] == pytest.approx(here[key], abs=1e-9)
        for trajectory in trajectories:
            require_within(trajectory.rows[:, slices[key].start], LIMITS, PERIOD_NS * 1e-9)


@pytest.mark.parametrize("pushed", KEYS)
@pytest.mark.parametrize("pushed_after", [0, 1, 2, 3])
@pytest.mark.parametrize("forecast_ticks", [0, 1, 3])
def test_a_stop_reaches_all_joints_before_they_set_out_whichever_is_pushed(
    pushed: str, pushed_after: int, forecast_ticks: int
) -> None:
    robot = about_to_move()
    robot.forecast_ticks = forecast_ticks
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(pushed_after)
    robot.push(pushed, 0.1)
    robot.tick(STOP_TICKS)
    require_stopped(robot, pushed)
    for key, sent in robot.sent.items():
        place = sent[-1].rows[-1, robot.layout.slices[key].start]
        assert place == pytest.approx(robot.held_at.get(key, 0.0), abs=MOVED)


@pytest.mark.parametrize("pushed", KEYS)
@pytest.mark.parametrize("pushed_after", [0, 3, 8])
@pytest.mark.parametrize("forecast_ticks", [3, 8])
def test_a_stop_that_comes_late_reaches_all_joints_in_motion_whichever_is_pushed(
    pushed: str, pushed_after: int, forecast_ticks: int
) -> None:
    robot = about_to_move()
    robot.tick(10)
    robot.forecast_ticks = forecast_ticks
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(pushed_after)
    robot.push(pushed, 0.4)
    robot.tick(STOP_TICKS)
    require_stopped(robot, pushed)


@pytest.mark.parametrize("pushed", ["left", "right"])
def test_an_arm_that_is_pushed_too_far_stops_the_other_before_it_sets_out(pushed: str) -> None:
    robot = about_to_move(max_following_error=0.3)
    robot.push(pushed, 0.4)
    robot.tick(STOP_TICKS)
    assert "does not follow" in robot.player.reason
    require_stopped(robot, pushed)


def test_a_run_in_which_an_arm_is_pushed_replays_bit_for_bit() -> None:
    robot = about_to_move()
    robot.player.inhibit("stopped by ~/stop")
    robot.push("left", 0.1)
    robot.tick(200)
    recorded = robot.player.player
    assert isinstance(recorded, RecordingPlayer)
    again = RecordingPlayer(robot.layout, robot.settings)
    commands = [command for command in replay(recorded.events, again) if command is not None]
    assert commands[-1].vector.tolist() == recorded.place.tolist()
