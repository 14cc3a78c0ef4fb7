# SPDX-License-Identifier: Apache-2.0
"""A controller that leaves its path holds its joints by itself: they go on from where they are."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from look_ahead_rig import LIMITS, PERIOD_NS, Run, moving_run
from two_arms import LEFT, RIGHT, Robot, about_to_move

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.recording import RecordingPlayer, replay

WHY = "left is 0.3 rad off"


def released_run() -> Run:
    """A moving robot whose only controller leaves the path, and brings it to rest by itself."""
    run = moving_run()
    run.tick(10)
    run.player.release(["arm"], run.now_ns, WHY)
    run.player.inhibit("until ~/start")
    here = run.measured.copy()
    for way in np.linspace(0.0, 0.05, 20):
        run.tick()
        run.measured = here + way
    for _ in range(100):
        run.tick()
        run.measured = here + 0.05
    return run


def test_a_robot_whose_controller_has_left_the_path_goes_on_from_where_it_stands() -> None:
    run = released_run()
    stands = run.measured.copy()
    assert run.player.is_sent
    assert run.commands[-1].at_rest
    assert not run.commands[-1].is_withheld
    assert np.allclose(run.commands[-1].vector, stands, atol=0.006)
    sent = len(run.sent)
    assert all("arm" not in trajectory.slices for _, trajectory in run.sent[1:])
    run.player.inhibit("")
    run.tick(2)
    rows = stands + 0.02 * np.arange(16)[:, None]
    run.player.offer(Chunk(2, run.now_ns - 10**8, 0.05, {"arm": rows}), run.now_ns)
    run.tick(30)
    assert len(run.sent) == sent + 1
    assert "arm" in run.sent[-1][1].slices
    assert np.allclose(run.sent[-1][1].rows[0], stands, atol=0.006)
    assert not run.player.fault


def given_up(off: float, **settings: float) -> Robot:
    """A robot in motion whose left controller has just left its path, this far behind it."""
    robot = Robot(**settings)
    robot.tick(3)
    robot.offer(1)
    robot.tick(40)
    robot.off = off
    robot.tick(20)
    robot.held_at["left"] = robot.arms["left"]
    robot.player.release(["left"], robot.now_ns, WHY)
    robot.player.inhibit("until ~/start")
    return robot


@pytest.mark.parametrize("off", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("max_following_error", [0.0, 0.5])
def test_an_arm_that_was_given_up_goes_on_from_where_it_is_beside_all_else(
    off: float, max_following_error: float
) -> None:
    robot = given_up(off, max_following_error=max_following_error)
    sent = len(robot.sent["left"])
    robot.tick(300)
    assert len(robot.sent["left"]) == sent  # nothing pulls it from where it is
    way_to_rest = robot.sent["right"][-1]
    require_within(way_to_rest.rows[:, RIGHT], LIMITS, PERIOD_NS * 1e-9)
    assert robot.arms["right"] == way_to_rest.rows[-1, RIGHT]
    robot.player.inhibit("")
    robot.tick(20)
    right = robot.arms["right"]
    robot.offer(2)
    robot.tick(2)
    [way_on] = robot.sent["left"][sent:]
    first = way_on.rows[0]
    assert first[LEFT] == pytest.approx(robot.held_at["left"], abs=0.006)
    assert first[RIGHT] == pytest.approx(right, abs=1e-9)
    assert np.ptp(robot.streamed) == 0.0  # the gripper has squeezed all the while


@pytest.mark.parametrize("starts_after", [0, 1, 5, 30])
def test_motion_is_forbidden_until_the_arm_stands_still_however_soon_it_is_started(
    starts_after: int,
) -> None:
    robot = given_up(0.1)
    sent = len(robot.sent["left"])
    robot.tick(starts_after)
    robot.player.inhibit("")
    place = robot.arms["left"]
    for _ in range(40):
        place += 0.004  # its controller takes this long to hold it
        robot.held_at["left"] = place
        robot.tick()
        with pytest.raises(ChunkRefusedError, match="controller of left has left the path"):
            robot.offer(2)
    assert len(robot.sent["left"]) == sent
    robot.tick(200)
    robot.offer(3)
    robot.tick(2)
    assert len(robot.sent["left"]) == sent + 1
    assert robot.sent["left"][-1].rows[0, LEFT] == pytest.approx(place, abs=0.006)


def test_a_stop_after_an_arm_was_given_up_does_not_take_it_back() -> None:
    robot = given_up(0.1)
    sent = len(robot.sent["left"])
    robot.player.inhibit("")
    robot.tick(3)
    for _ in range(20):
        robot.player.hold(robot.now_ns, "stopped by the policy node")
        robot.tick(7)
    robot.tick(60)
    assert len(robot.sent["left"]) == sent
    robot.offer(2)
    robot.tick(2)
    first = robot.sent["left"][-1].rows[0, LEFT]
    assert first == pytest.approx(robot.held_at["left"], abs=0.006)


def test_both_arms_that_are_given_up_one_after_the_other_are_taken_back() -> None:
    robot = given_up(0.1)
    robot.tick(20)
    robot.player.release(["right"], robot.now_ns, "right is 0.3 rad off")
    robot.tick(200)
    robot.player.inhibit("")
    robot.tick(2)
    robot.offer(2)
    robot.tick(2)
    for key, index in (("left", LEFT), ("right", RIGHT)):
        place = robot.sent[key][-1].rows[0, index]
        assert place == pytest.approx(robot.arms[key], abs=0.006)


def test_a_run_in_which_an_arm_is_given_up_replays_bit_for_bit() -> None:
    robot = given_up(0.1)
    robot.tick(200)
    robot.player.inhibit("")
    robot.tick(2)
    robot.offer(2)
    robot.tick(30)
    recorded = robot.player.player
    assert isinstance(recorded, RecordingPlayer)
    again = RecordingPlayer(robot.layout, robot.settings)
    commands = [command for command in replay(recorded.events, again) if command is not None]
    assert commands[-1].vector.tolist() == recorded.place.tolist()


def test_the_other_arm_is_stopped_before_it_sets_out_though_the_first_was_pushed_off() -> None:
    """Its trajectory was sent already; where the first arm is must not keep its stop back."""
    robot = about_to_move()
    place = robot.arms["left"]
    robot.player.release(["left"], robot.now_ns, WHY)
    robot.player.inhibit("until ~/start")
    for way in (0.1, 0.2, 0.3):
        robot.held_at["left"] = place + way
        robot.tick()
    robot.tick(400)
    assert abs(robot.arms["right"]) < 0.02
