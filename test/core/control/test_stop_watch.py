# SPDX-License-Identifier: Apache-2.0
"""A way to rest that does not reach the controller is sent again, from where the robot is then."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from limit_checks import require_within
from look_ahead_rig import LIMITS, PERIOD_NS
from two_arms import LEFT, RIGHT, Robot

from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.recording import RecordingPlayer, replay

ARMS = {"left": LEFT, "right": RIGHT}
AT_ONCE = replace(LIMITS, jerk=1e9)  # a brake without regard to jerk


def moving(speed: float = 0.5, max_following_error: float = 0.0) -> Robot:
    """A robot on a way of two seconds, which it has gone for 0.4 s."""
    robot = Robot(max_following_error)
    robot.tick(3)
    robot.offer(1, speed)
    robot.tick(50)
    return robot


TIMES_S = 0.05 * np.arange(80)


def on_paths(
    left: np.ndarray,
    right: np.ndarray,
    ticks: int,
    *,
    max_following_error: float = 0.5,
    silent_at_rest: bool = False,
) -> Robot:
    """A robot that has gone on two paths for some ticks, of rows that are 0.05 s apart."""
    robot = Robot(max_following_error, silent_at_rest=silent_at_rest)
    robot.tick(3)
    rows = {"left": left[:, None], "right": right[:, None], "grip": np.zeros((len(left), 1))}
    robot.player.offer(Chunk(1, robot.now_ns, 0.05, rows), robot.now_ns)
    robot.tick(ticks)
    return robot


def run(robot: Robot, ticks: int) -> dict[str, np.ndarray]:
    """Where the arms are at the next ticks, rad."""
    places = []
    for _ in range(ticks):
        robot.tick()
        places.append(dict(robot.arms))
    return {key: np.array([place[key] for place in places]) for key in ARMS}


@pytest.mark.parametrize("speed", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("deaf", [["left"], ["right"], ["left", "right"]])
def test_a_controller_that_misses_a_stop_is_braked_soon(deaf: list[str], speed: float) -> None:
    robot = moving(speed)
    robot.deaf |= dict.fromkeys(deaf, 1)
    robot.player.inhibit("stopped by ~/stop")
    paths = run(robot, 250)
    assert [missed.keys for missed in robot.missed] == [frozenset(deaf)]
    for path in paths.values():
        require_within(path, AT_ONCE, PERIOD_NS * 1e-9)
        assert np.ptp(path[90:]) == 0.0
    assert robot.player.is_at_rest
    assert not robot.player.is_stop_in_doubt
    assert "stopped by ~/stop" in robot.player.reason
    assert np.ptp(robot.streamed[-200:]) == 0.0


@pytest.mark.parametrize("slow", [0.05, 0.15, 0.4])
def test_arms_of_different_speeds_that_both_miss_a_stop_are_braked_where_each_is(
    slow: float,
) -> None:
    robot = on_paths(slow * TIMES_S, 0.5 * TIMES_S, 50, max_following_error=0.0)
    robot.deaf = dict.fromkeys(ARMS, 1)
    robot.player.inhibit("stopped by ~/stop")
    paths = run(robot, 200)
    assert robot.missed
    for path in paths.values():
        require_within(path, AT_ONCE, PERIOD_NS * 1e-9)
        assert np.ptp(path[100:]) == 0.0


def test_an_arm_at_the_end_of_its_path_goes_on_from_there_though_it_missed_a_stop() -> None:
    left, right = np.minimum(0.5 * TIMES_S, 0.4), 0.5 * TIMES_S
    robot = on_paths(left, right, 60, max_following_error=0.0)
    robot.deaf = {"left": 1, "right": 4}
    robot.player.inhibit("stopped by ~/stop")
    stopped = run(robot, 250)
    assert len(robot.missed) == 4
    robot.player.inhibit("")
    robot.offer(2)
    moved = run(robot, 60)
    for key in ARMS:
        assert np.ptp(moved[key]) > 0.1
        path = np.append(stopped[key], moved[key])
        require_within(path, AT_ONCE, PERIOD_NS * 1e-9)


def test_a_stop_just_after_all_controllers_were_taken_back_leaves_nothing_in_doubt() -> None:
    robot = moving()
    robot.held_at["left"] = robot.arms["left"]
    robot.player.release(["left"], robot.now_ns, "left is 0.3 rad off")
    robot.tick(100)
    assert not robot.player.is_stop_in_doubt
    robot.player.hold(robot.now_ns, "enough")
    robot.offer(2)
    robot.player.hold(robot.now_ns, "enough")
    robot.tick(5)
    assert not robot.player.is_stop_in_doubt


def test_a_controller_that_misses_one_stop_after_another_is_braked_again_and_again() -> None:
    robot = moving()
    robot.deaf["left"] = 4
    robot.player.inhibit("stopped by ~/stop")
    path = run(robot, 250)["left"]
    assert len(robot.missed) == 4
    require_within(path, AT_ONCE, PERIOD_NS * 1e-9)
    assert np.ptp(path[-50:]) == 0.0
    assert path[-1] < 0.05 * 40 * 0.5 - 0.1  # it does not get to the end of its chunk


@pytest.mark.parametrize("off", [0.0, 0.04])
@pytest.mark.parametrize("delay_ticks", [0, 5, 15])
def test_an_arm_that_follows_behind_and_sags_is_braked_where_it_was_sent(
    off: float, delay_ticks: int
) -> None:
    robot = moving(max_following_error=0.5)
    robot.off, robot.delay_ticks = off, delay_ticks
    robot.tick(20)
    robot.deaf["left"] = 1
    robot.player.inhibit("stopped by ~/stop")
    path = run(robot, 100)["left"]
    [missed] = robot.missed
    assert missed.keys == {"left"}
    require_within(path, AT_ONCE, PERIOD_NS * 1e-9)
    assert np.ptp(path[-20:]) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_a_stop_that_was_taken_is_not_in_doubt_for_long(seed: int) -> None:
    generator = random.Random(seed)
    robot = Robot(0.5)
    robot.tick(3)
    robot.off, robot.delay_ticks = generator.uniform(-0.05, 0.05), generator.randrange(21)
    speeds = [generator.uniform(-3.0, 3.0) for _ in ARMS]
    sizes = [generator.uniform(0.1, 0.6) for _ in ARMS]
    times_s = 0.05 * np.arange(60)
    arms = [size * np.sin(w * times_s) for size, w in zip(sizes, speeds, strict=True)]
    rows = {key: arm[:, None] + robot.arms[key] for key, arm in zip(ARMS, arms, strict=True)}
    rows["grip"] = np.zeros((60, 1))
    robot.player.offer(Chunk(1, robot.now_ns, 0.05, rows), robot.now_ns)
    robot.tick(generator.randrange(12, 250))
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(100)
    assert not robot.player.is_stop_in_doubt
    robot.tick(200)
    assert not robot.missed


@pytest.mark.parametrize("after_ticks", [5, 20, 40])
@pytest.mark.parametrize("way", [-0.3, 0.1, 0.3])
def test_somebody_who_pushes_a_stopped_arm_is_not_taken_for_its_path(
    after_ticks: int, way: float
) -> None:
    robot = moving()
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(after_ticks)
    began_at = robot.arms["left"]
    for share in np.linspace(0.0, 1.0, 30):
        robot.held_at["left"] = began_at + way * share**2
        robot.tick()
    robot.tick(100)
    assert not robot.missed


def test_a_stop_that_is_not_measured_is_not_in_doubt() -> None:
    robot = moving()
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(10)
    assert robot.player.is_stop_in_doubt
    robot.tick(60)
    assert not robot.player.is_stop_in_doubt


def test_a_run_in_which_a_stop_is_missed_replays_bit_for_bit() -> None:
    robot = moving()
    robot.deaf["left"] = 2
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(200)
    recorded = robot.player.player
    assert isinstance(recorded, RecordingPlayer)
    again = RecordingPlayer(robot.layout, robot.settings)
    commands = [command for command in replay(recorded.events, again) if command is not None]
    assert np.array_equal(commands[-1].vector, recorded.place)


@pytest.mark.parametrize("delay_ticks", [0, 5, 10, 15])
@pytest.mark.parametrize("seed", range(6))
def test_a_missed_stop_is_noticed_on_a_path_that_turns_though_the_arm_follows_behind(
    seed: int, delay_ticks: int
) -> None:
    generator = random.Random(seed)
    sizes = [generator.uniform(0.15, 0.6) for _ in ARMS]
    rates = [generator.uniform(0.5, 3.0) for _ in ARMS]
    paths = [size * np.sin(rate * TIMES_S) for size, rate in zip(sizes, rates, strict=True)]
    robot = on_paths(*paths, 20)
    robot.delay_ticks = delay_ticks
    robot.tick(generator.randrange(5, 150))
    robot.deaf["left"] = 1
    robot.player.inhibit("stopped by ~/stop")
    way_on = run(robot, 400)["left"]
    assert robot.missed or np.ptp(way_on[60:]) < 0.08


@pytest.mark.parametrize("stopped_after", range(10, 110, 10))
def test_a_blocked_arm_to_which_the_path_comes_back_has_not_missed_its_stop(
    stopped_after: int,
) -> None:
    way = 0.2 * (1.0 - np.cos(np.minimum(TIMES_S, 1.2) / 1.2 * 2.0 * np.pi))
    robot = on_paths(way, way, 20)
    robot.held_at["left"] = robot.arms["left"]
    robot.tick(stopped_after)
    robot.player.inhibit("stopped by ~/stop")
    run(robot, 250)
    assert not robot.missed


@pytest.mark.parametrize("silent_at_rest", [False, True])
@pytest.mark.parametrize("speed", [0.05, 0.1, 0.3, 0.6])
def test_a_controller_that_is_given_up_does_not_end_the_watch_of_the_other(
    speed: float, silent_at_rest: bool
) -> None:
    robot = on_paths(speed * TIMES_S, speed * TIMES_S, 100, silent_at_rest=silent_at_rest)
    robot.deaf["right"] = 1
    robot.held_at["left"] = robot.arms["left"]
    robot.player.release(["left"], robot.now_ns, "left is 0.3 rad off")
    run(robot, 350)
    assert [missed.keys for missed in robot.missed] == [{"right"}]


@pytest.mark.parametrize("pause_ticks", [50, 100, 200])
def test_a_stop_before_a_pause_of_the_control_loop_is_watched_after_it(pause_ticks: int) -> None:
    robot = on_paths(0.3 * TIMES_S, 0.3 * TIMES_S, 100)
    robot.deaf = dict.fromkeys(ARMS, 1)
    robot.player.inhibit("stopped by ~/stop")
    robot.tick(3)
    robot.ticks += pause_ticks
    run(robot, 200)
    assert robot.missed


def test_a_joint_that_is_not_measured_any_more_leaves_its_stop_in_doubt_until_its_path_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = on_paths(0.3 * TIMES_S, 0.3 * TIMES_S, 60)
    robot.player.inhibit("stopped by ~/stop")
    measure = robot.player.measure
    monkeypatch.setattr(
        robot.player, "measure", lambda places, at_ns: measure({RIGHT: places[RIGHT]}, at_ns)
    )
    robot.tick(100)
    assert robot.player.is_stop_in_doubt
    robot.tick(400)
    assert not robot.player.is_stop_in_doubt


@pytest.mark.parametrize("speed", [0.1, 0.3, 0.5, 1.2])
def test_a_robot_that_is_silent_at_rest_stops_as_soon_as_another(speed: float) -> None:
    ways = []
    for silent_at_rest in (False, True):
        path = speed * TIMES_S
        robot = on_paths(path, path, 100, silent_at_rest=silent_at_rest)
        robot.player.inhibit("stopped by ~/stop")
        ways.append(np.ptp(run(robot, 100)["left"]))
    assert ways[0] == ways[1]
