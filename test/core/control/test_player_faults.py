# SPDX-License-Identifier: Apache-2.0
"""What stops a motion that nobody told to stop: blocked joints, old observations, absurd values."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from player_rig import LIMITS, PERIOD_S, Rig, setting_out_s

from gr00t_policy_core.control.action_layout import ActionLayout, rotated
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.measured_state import MeasuredState
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import ObservationAgeLimit, PlayerSettings

# A joint that does not follow


def test_a_blocked_joint_stops_the_motion_and_is_named_with_its_values() -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.2, 1: 0.2})
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.run(1.0)
    assert rig.last.holding
    assert rig.player.fault.startswith("arm[0] does not follow: commanded 0.2")
    assert "measured 0.000, max_following_error is 0.2" in rig.player.reason
    assert np.abs(rig.path()).max() < 0.4
    rig.require_smooth()


def test_a_blocked_joint_is_not_pressed_any_further() -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.2, 1: 0.2})
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.run(2.0)
    assert rig.arm == pytest.approx(0.0, abs=0.02)
    rig.require_smooth()


def test_the_fault_is_cleared_when_motion_is_allowed_again_and_the_robot_follows() -> None:
    """Also without a chunk: a task that looks at the robot first could never begin else."""
    rig = Rig(measured=True, max_following_errors={0: 0.2, 1: 0.2})
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.run(1.0)
    rig.player.inhibit("until ~/start")
    rig.see(2.0, 2.0)
    rig.run(0.1)
    rig.player.inhibit("")
    rig.run(0.1)
    assert rig.player.fault.startswith("arm[0] does not follow"), "it is elsewhere still"
    rig.see(*rig.last.values["arm"])
    rig.run(2.0)
    assert rig.player.fault == ""
    rig.require_smooth()


def test_a_joint_that_lags_behind_is_not_blocked() -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.2, 1: 0.2})
    rig.follow(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.run(2.0)
    assert not rig.last.holding
    assert rig.player.fault == ""


def test_a_pose_is_followed_by_its_distance_and_by_its_turn() -> None:
    layout = ActionLayout({"hand": 7}, poses=["hand"])
    robot = MeasuredState(layout, {}, dict.fromkeys(range(7), 0.5))
    command = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    robot.measure(dict(enumerate([0.4, 0.4, 0.4, 0.0, 0.0, 0.0, 1.0])), 0)
    assert robot.following_error(command) == (
        "hand does not follow: it is 0.693 m away, max_following_error is 0.5"
    )
    turn = rotated(command[3:], np.array([0.0, 0.0, 0.8]))
    robot.measure(dict(enumerate([0.0, 0.0, 0.0, *turn.tolist()])), 0)
    assert "it is 0.800 rad away" in robot.following_error(command)


@pytest.mark.parametrize("position", [1e9, -1e300, np.nan, np.inf])
def test_a_position_that_no_robot_has_is_left_out(position: float) -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.5, 1: 0.5})
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(1.0)
    rig.see(position, 0.0)
    rig.run(2.0)
    assert (rig.path() == 0.0).all()
    assert "the position of arm[0] is" in rig.player.reason  # it grows old


@pytest.mark.parametrize("back_s", [0.4, 0.495, 0.505, 0.515, 0.6])
def test_a_clock_that_is_set_back_never_turns_the_arm_around(back_s: float) -> None:
    rig = Rig()
    rig.offer(speed=0.3, horizon=400)
    rig.run(2.0)
    rig.now_ns -= round(back_s * 1e9)
    rig.run(2.0)
    assert (np.diff(rig.path()) >= -1e-12).all()
    rig.require_smooth()


def test_a_pose_comes_to_rest_whatever_its_rotation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        quaternion = rng.normal(size=4)
        row = np.concatenate([np.zeros(3), quaternion / np.linalg.norm(quaternion)])
        player = MotionPlayer(
            ActionLayout({"hand": 7}, poses=["hand"]),
            PlayerSettings(period_s=0.001, bodies={"hand": BodyLimits(1.0, 5.0, 3.0, 15.0)}),
        )
        player.offer(Chunk(1, 0, 0.05, {"hand": np.tile(row, (3, 1))}), 0)
        commands = [player.tick(n * 1_000_000) for n in range(1, 500)]
        assert commands[-1] is not None
        assert commands[-1].at_rest


# Old observations


def test_the_motion_ends_when_the_observation_behind_it_is_too_old() -> None:
    rig = Rig(observation_age=ObservationAgeLimit(0.5))
    rig.offer(speed=1.0, horizon=100)
    rig.run(1.5)
    assert rig.last.at_rest
    assert "the newest observation is 0.51 s old, max_observation_age_s is 0.5" in rig.player.reason
    assert rig.arm < 0.7
    rig.require_smooth()


def test_a_chunk_of_an_old_observation_is_refused() -> None:
    rig = Rig(observation_age=ObservationAgeLimit(0.5))
    with pytest.raises(ChunkRefusedError, match=r"observation is 3600\.00 s old, .* is 0\.5"):
        rig.offer(late_s=3600.0, horizon=100)
    assert rig.run(0.1) == [None] * 10


def test_a_chunk_from_the_future_is_of_another_clock() -> None:
    rig = Rig()
    with pytest.raises(ChunkRefusedError, match=r"1\.400 s in the future: clocks differ"):
        rig.offer(late_s=-1.4)


@pytest.mark.parametrize(
    ("horizon", "interval_s", "sync", "limit_s"),
    [
        (11, 0.4, False, 1.4),  # 0.5 s of chunk
        (11, 0.0, False, 1.0),
        (101, 0.4, False, 2.0),  # 5 s of chunk: never longer than that
        (101, 0.0, True, 7.0),  # played whole, 2 s after its observation at most
    ],
)
def test_by_default_the_chunk_and_the_replan_interval_decide(
    horizon: int, interval_s: float, sync: bool, limit_s: float
) -> None:
    chunk = Chunk(1, 0, 0.05, {"arm": np.zeros((horizon, 1))})
    age = ObservationAgeLimit(None, replan_interval_s=interval_s, sync=sync)
    assert age.limit_of(chunk) == pytest.approx(limit_s)


# Absurd values


@pytest.mark.parametrize("value", [1e5, -1e8, 1e99])
@pytest.mark.parametrize("key", ["arm", "base"])
@pytest.mark.parametrize("limited", [(0, 1, 2), ()], ids=["limited", "nameless"])
def test_what_no_robot_can_do_is_refused_with_the_chunk(
    key: str, value: float, limited: tuple[int, ...]
) -> None:
    rig = Rig(limits=dict.fromkeys(limited, JointLimits(-np.inf, np.inf, 3.0, 25.0, 500.0)))
    rig.offer(speed=0.5, horizon=60)
    rig.run(0.5)
    actions = {"arm": np.full((20, 2), 0.2), "base": np.full((20, 1), 0.5)}
    actions[key][7] = value
    with pytest.raises(
        ChunkRefusedError,
        match=rf"step 7 commands {key}\[0\] to .*, no robot goes beyond 10000 rad or m",
    ):
        rig.player.offer(Chunk(9, rig.now_ns, 0.05, actions), rig.now_ns)
    rig.run(0.5)
    assert not rig.last.holding


# Stalls


@pytest.mark.parametrize("stall_s", [0.05, 0.4, 3.0])
def test_after_a_stall_the_chunk_goes_on_at_its_own_speed(stall_s: float) -> None:
    rig = Rig()
    rig.offer(speed=0.785, horizon=100)
    rig.run(1.0)
    rig.stall(stall_s)
    rig.run(1.0)
    speeds = np.diff(rig.path()) / PERIOD_S
    assert speeds.max() == pytest.approx(0.785, abs=1e-4)
    assert rig.arm == pytest.approx(0.785 * (2.0 - setting_out_s(0.785)), abs=1e-6)
    assert rig.player.counts.stalls == 1


def test_jitter_of_the_ticks_changes_no_command_and_binds_no_limit() -> None:
    rig = Rig(limits={0: LIMITS, 1: LIMITS})
    rng = np.random.default_rng(3)
    rig.offer(speed=0.8, horizon=100)
    even_ns = rig.now_ns
    for _ in range(300):
        even_ns += round(PERIOD_S * 1e9)
        command = rig.player.tick(even_ns + int(rng.exponential(400_000)))
        assert command is not None
        rig.commands.append(command)
    assert rig.player.counts.limit_hits.total() == 0
    require_within(rig.path(), LIMITS, PERIOD_S)
    assert np.abs(np.diff(rig.path(), 2)).max() < 0.3 * LIMITS.acceleration * PERIOD_S**2


# Limits that change


def test_new_limits_are_taken_over_at_rest() -> None:
    rig = Rig()
    rig.offer(speed=2.0, horizon=100)
    rig.run(0.5)
    slow = JointLimits(-4.0, 4.0, 0.3, 2.0, 50.0)
    rig.player.change_limits({0: slow, 1: slow}, rig.now_ns)
    with pytest.raises(ChunkRefusedError, match="the limits have changed"):
        rig.offer()
    rig.run(0.5)
    rig.require_smooth()
    rested = len(rig.commands)
    rig.offer(start=rig.arm, speed=2.0, horizon=100)
    rig.run(2.0)
    require_within(rig.path()[rested - 3 :], slow, PERIOD_S)
    assert np.diff(rig.path()[rested:]).max() > 0.25 * PERIOD_S


def test_new_limits_before_the_first_chunk_are_in_force_at_once() -> None:
    rig = Rig()
    slow = JointLimits(-4.0, 4.0, 0.3, 2.0, 50.0)
    rig.player.change_limits({0: slow, 1: slow}, rig.now_ns)
    rig.offer(speed=2.0, horizon=100)
    rig.run(1.0)
    require_within(rig.path(), slow, PERIOD_S)


def test_new_limits_at_rest_leave_the_command_of_an_arm_that_sags_where_it_is() -> None:
    rig = Rig(measured=True)
    rig.see(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(0.01)
    rig.see(-0.05, 0.0)
    rig.run(2.0)
    slow = JointLimits(-4.0, 4.0, 0.3, 2.0, 50.0)
    rig.player.change_limits({0: slow, 1: slow}, rig.now_ns)
    rig.run(0.5)
    assert (rig.path() == 0.0).all()


# What is told


def test_a_refusal_is_told_beside_the_reason_for_the_hold() -> None:
    rig = Rig(max_jump=0.3)
    rig.offer(horizon=5)
    rig.run(1.0)
    assert rig.player.reason == "chunk 1 ended and no other came"
    with pytest.raises(ChunkRefusedError):
        rig.offer(start=3.0)
    rig.run(0.1)
    assert rig.player.reason.startswith("chunk 1 ended and no other came; refused since: chunk 2:")


def test_every_joint_is_reported_with_what_bound_it() -> None:
    rig = Rig(measured=True)
    assert rig.player.report() == []
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0, horizon=60)
    rig.run(0.1)
    rig.offer(start=2.0, speed=20.0, horizon=60)
    rig.run(0.1)
    arm, other, base = rig.player.report()
    assert (arm.name, arm.bound_by != "", base.bound_by) == ("arm[0]", True, "")
    assert arm.command == rig.arm
    assert arm.target > arm.command
    assert np.isnan(base.measured)
    assert other.measured == pytest.approx(other.command, abs=0.05)
