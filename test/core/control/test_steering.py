# SPDX-License-Identifier: Apache-2.0
"""A person takes over from the policy in mid-motion, steers, and hands back: inside every limit."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from limit_checks import require_within
from player_rig import DT_S, LIMITS, PERIOD_S, T0_NS, Rig

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.motion_state import MotionPhase
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import OutOfRange, PlayerSettings
from gr00t_policy_core.control.recording import RecordingPlayer, replay
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.steering import SteeringRefusedError

NARROW = JointLimits(-0.5, 0.5, 3.0, 25.0, 500.0)


def steer(rig: Rig, arm: float, base: float = 0.0) -> None:
    rig.player.steer(np.array([arm, -arm, base]), rig.now_ns)


def steer_along(rig: Rig, start: float, speed: float, seconds: float, *, hz: float = 50.0) -> float:
    """A person's device that commands a ramp; returns its last target."""
    target = start
    for _ in range(round(seconds * hz)):
        target += speed / hz
        steer(rig, target)
        rig.run(1.0 / hz)
    return target


def test_a_person_takes_over_in_mid_motion_and_hands_back() -> None:
    rig = Rig(measured=True, max_jump=0.5)
    rig.follow(0.0, 0.0)
    rig.offer(speed=1.0)
    rig.run(0.5)
    assert rig.arm > 0.3
    taken_over_at = rig.arm
    last = steer_along(rig, taken_over_at, -0.6, 2.0)
    assert rig.player.is_steered
    assert not rig.player.reason
    assert rig.last.observed_ns is None
    assert not rig.last.holding
    rig.player.hold(rig.now_ns, "the person let go")
    assert not rig.player.is_steered
    rig.run(0.05)
    assert rig.last.holding
    assert not rig.last.at_rest
    rig.offer(start=rig.arm, speed=0.8)
    rig.run(0.6)
    assert not rig.last.holding
    assert rig.arm > last + 0.1
    rig.require_smooth(0.0, 0.0)


def test_the_commands_stay_behind_a_person_by_no_more_than_it_takes_to_brake() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    target = steer_along(rig, 0.0, 0.5, 1.5)
    braking_s = 2.0 * math.sqrt(0.5 / LIMITS.jerk)  # the jerk alone limits so small a speed
    assert 0.0 <= target - rig.arm <= 0.5 * 0.5 * braking_s + 1e-3
    np.testing.assert_allclose(np.diff(rig.path()[-20:]), 0.5 * PERIOD_S, rtol=2e-3)


def test_a_person_steers_a_robot_that_no_chunk_has_moved_yet() -> None:
    rig = Rig(measured=True)
    rig.follow(0.3, -0.3)
    steer_along(rig, 0.3, 0.4, 1.0)
    assert rig.commands[0].values["arm"].tolist() == [0.3, -0.3]
    assert rig.arm > 0.6
    rig.require_smooth(0.3, -0.3)


def test_a_device_that_falls_silent_leaves_the_robot_at_rest() -> None:
    rig = Rig(measured=True, steering_timeout_s=0.25)
    rig.follow(0.0, 0.0)
    steer_along(rig, 0.0, 0.5, 0.5)
    steer(rig, 0.26, base=0.7)
    rig.run(0.24)
    assert rig.player.is_steered
    assert rig.last.values["base"][0] > 0.0
    rig.run(0.5)
    assert rig.last.at_rest
    assert rig.last.values["base"][0] == 0.0
    assert "no teleoperation command came for 0.2" in rig.player.reason
    rig.require_smooth(0.0, 0.0)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (0.9, "arm\\[0\\] would jump by 0.900, from 0.000 to 0.900; max_jump is 0.5"),
        (float("nan"), "arm\\[0\\] is commanded to nan"),
        (1e9, "no robot goes beyond 10000"),
    ],
)
def test_a_target_that_the_robot_cannot_go_to_is_refused(target: float, reason: str) -> None:
    rig = Rig(measured=True, max_jump=0.5)
    rig.follow(0.0, 0.0)
    with pytest.raises(SteeringRefusedError, match=reason):
        steer(rig, target)
    assert not rig.player.is_steered
    steer(rig, 0.0)
    rig.run(0.02)
    with pytest.raises(SteeringRefusedError, match=reason):
        steer(rig, target)
    rig.run(0.1)
    assert rig.player.is_steered
    assert rig.arm == pytest.approx(0.0)


def test_a_joint_outside_its_range_is_not_steered_and_is_named() -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS}, max_jump=0.5)
    rig.follow(1.5, -1.5)
    with pytest.raises(SteeringRefusedError, match=r"arm\[0\] is at 1.500, .* -0.500 to 0.500; b"):
        steer(rig, 1.4)
    assert rig.run(0.1) == [None] * 10
    rig.follow(0.4, -0.4)
    steer(rig, 0.3)
    rig.run(0.5)
    assert rig.arm == pytest.approx(0.3, abs=1e-3)


def test_a_joint_that_was_moved_outside_its_range_at_rest_is_not_steered() -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS}, max_following_errors={0: 9.0, 1: 9.0})
    rig.follow(0.0, 0.0)
    rig.offer(horizon=5)
    rig.run(1.0)
    rested = rig.arm
    rig.see(1.5, 0.0)
    rig.run(0.5)
    with pytest.raises(SteeringRefusedError, match=r"arm\[0\] is at 1.500, outside its range"):
        steer(rig, 1.4)
    rig.run(0.1)
    assert rig.arm == rested


def test_a_joint_outside_its_range_returns_with_a_person_where_that_is_wished() -> None:
    limits = {0: NARROW, 1: LIMITS}
    rig = Rig(measured=True, limits=limits, max_jump=0.5, out_of_range=OutOfRange.RETURN)
    rig.follow(1.5, -1.5)
    for _ in range(100):
        steer(rig, 1.4)
        rig.run(0.02)
    path = rig.path()
    assert path[0] == 1.5
    assert path[-1] == 0.5
    require_within(path, JointLimits(-0.5, 1.5, 3.0, 25.0, 500.0), PERIOD_S)


def test_nobody_steers_while_motion_is_inhibited() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    steer_along(rig, 0.0, 0.5, 0.5)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.4)
    assert rig.last.at_rest
    with pytest.raises(SteeringRefusedError, match="the enable signal is off"):
        steer(rig, 0.2)
    rig.require_smooth(0.0, 0.0)


def test_a_chunk_does_not_take_the_robot_from_a_person() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    steer(rig, 0.1)
    rig.run(0.1)
    with pytest.raises(ChunkRefusedError, match="a person steers the robot"):
        rig.offer(start=0.1)
    assert rig.player.is_steered


def test_a_robot_that_does_not_follow_a_person_is_a_fault() -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.1, 1: 0.1})
    rig.see(0.0, 0.0)
    for target in np.arange(0.0, 0.4, 0.01):
        with contextlib.suppress(SteeringRefusedError):
            steer(rig, target)
        rig.run(0.02)
        rig.player.inhibit(rig.player.fault)  # as the control node does
    assert "does not follow" in rig.player.fault


def test_a_clock_that_is_set_back_ends_the_steering() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    steer_along(rig, 0.0, 0.5, 0.5)
    rig.now_ns -= 10_000_000_000
    rig.run(0.5)
    assert not rig.player.is_steered
    assert "set back" in rig.player.reason
    rig.require_smooth(0.0, 0.0)


def test_a_pose_is_steered_along_the_sphere() -> None:
    layout = ActionLayout({"tool": 7}, poses=["tool"])
    player = MotionPlayer(layout, PlayerSettings(period_s=PERIOD_S, max_jump=2.0))
    here = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    turned = np.array([0.2, 0.0, 0.0, 0.0, 0.0, np.sin(0.5), np.cos(0.5)])
    now_ns, rows = T0_NS, []
    for step in range(200):
        if step % 5 == 0:
            player.steer(here if step < 50 else turned, now_ns)
        now_ns += 10_000_000
        rows.append(player.tick(now_ns).values["tool"])
    quaternions = np.array(rows)[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(rows[-1], turned, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_people_and_policies_do_the_commands_keep_the_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blend = BlendMode.REPLACE if seed % 3 == 0 else BlendMode.OFFSET_FADE
    settings = PlayerSettings(
        period_s=PERIOD_S,
        schedule=ScheduleSettings(blend, blend_s=float(rng.choice([0.0, 0.1, 0.3]))),
        limits={0: LIMITS, 1: LIMITS},
        max_jump=1.0,
        max_joint_ages_s={0: 0.5, 1: 0.5},
    )
    layout = ActionLayout({"arm": 2, "base": 1}, velocities=["base"])
    player = RecordingPlayer(layout, settings)
    now_ns, commands, place = T0_NS, [], np.zeros(2)
    for tick in range(1200):
        now_ns += int(rng.choice([10_000_000] * 40 + [3_000_000, 60_000_000]))
        if tick % 2:
            player.measure(dict(enumerate(place)), now_ns)
        event = rng.random()
        with contextlib.suppress(SteeringRefusedError, ChunkRefusedError):
            if event < 0.25:
                player.steer(np.append(place + rng.normal(0.0, 0.3, 2), rng.normal()), now_ns)
            elif event < 0.27:
                player.hold(now_ns, "the person let go")
            elif event < 0.33:
                arm = place + np.cumsum(rng.normal(0.0, 0.1, (16, 2)), axis=0)
                actions = {"arm": arm, "base": rng.normal(size=(16, 1))}
                player.offer(Chunk(tick, now_ns - 50_000_000, DT_S, actions), now_ns)
            elif event < 0.335:
                player.inhibit("stopped")
            elif event < 0.36:
                player.inhibit("")
        command = player.tick(now_ns)
        if command is not None:
            place = command.values["arm"].copy()
            commands.append(place)
    path = np.array([np.zeros(2)] * 3 + commands)
    for joint in (0, 1):
        require_within(path[:, joint], LIMITS, PERIOD_S)
    again = replay(player.events, MotionPlayer(layout, settings))
    np.testing.assert_array_equal([c.values["arm"] for c in again if c is not None], commands)


def test_a_steered_robot_is_in_motion() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    steer_along(rig, 0.0, 0.5, 0.5)
    assert rig.player._state.phase is MotionPhase.FOLLOWING
