# SPDX-License-Identifier: Apache-2.0
"""From rest: motion starts where the robot is, and nothing pulls back a robot that was moved."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from player_rig import LIMITS, PERIOD_S, T0_NS, Rig

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import OutOfRange, PlayerSettings

NARROW = JointLimits(-0.5, 0.5, 3.0, 25.0, 500.0)


def test_the_first_command_is_the_measured_position() -> None:
    rig = Rig(measured=True)
    rig.follow(0.3, -0.2)
    rig.offer(start=0.1)
    rig.run(PERIOD_S)
    assert rig.last.values["arm"].tolist() == [0.3, -0.2]


def test_nothing_moves_before_every_joint_was_measured() -> None:
    rig = Rig(measured=True)
    rig.player.measure({0: 0.0}, rig.now_ns)
    with pytest.raises(ChunkRefusedError, match=r"the position of arm\[1\] is not known yet"):
        rig.offer()
    assert rig.run(0.1) == [None] * 10


@pytest.mark.parametrize("measured", [1.5, -0.6])
def test_a_joint_outside_its_range_is_refused_by_name(measured: float) -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS})
    rig.follow(measured, 0.0)
    with pytest.raises(ChunkRefusedError, match=r"arm\[0\] is at .*range -0\.500 to 0\.500"):
        rig.offer(start=measured)
    assert rig.run(0.1) == [None] * 10


def test_a_joint_outside_its_range_returns_within_its_limits_where_that_is_wished() -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS}, out_of_range=OutOfRange.RETURN)
    rig.follow(1.5, 0.0)
    rig.offer(start=1.5, speed=0.0, horizon=60)
    rig.run(4.0)
    path = rig.path()
    assert path[0] == 1.5
    assert path[-1] == 0.5
    require_within(path, JointLimits(-0.5, 1.5, 3.0, 25.0, 500.0), PERIOD_S)


def test_a_joint_that_reads_a_little_beyond_its_stop_is_not_refused() -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS})
    rig.follow(0.505, 0.0)
    rig.offer(start=0.5, speed=-0.5)
    rig.run(1.0)
    assert rig.path()[0] == 0.505
    require_within(rig.path(), JointLimits(-0.5, 0.505, 3.0, 25.0, 500.0), PERIOD_S)


def test_a_chunk_of_one_step_is_a_place_to_go_to() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    for place in (0.3, 0.1):
        rig.offer(start=place, horizon=1)
        rig.run(1.0)
        assert rig.arm == pytest.approx(place)
        assert rig.last.at_rest
    rig.require_smooth(0.0, 0.0)


@pytest.mark.parametrize("distance", [0.015, 0.4, 1.0])
def test_published_no_more_it_starts_where_the_robot_was_moved_to(distance: float) -> None:
    rig = Rig(measured=True, silent_at_rest=True)
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(2.0)
    assert rig.last.at_rest
    moved = rig.arm + distance
    rig.follow(moved, -rig.arm)
    rig.offer(start=rig.arm)
    rig.run(PERIOD_S)
    assert rig.arm == moved


def test_a_robot_moved_while_it_is_stopped_is_held_where_it_is() -> None:
    """An emergency stop: somebody moves the arm, and nothing pulls it back afterwards."""
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(0.5)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.5)
    rig.see(rig.arm + 0.4, -rig.arm)
    moved = rig.joints
    rig.run(1.0)
    assert rig.last.values["arm"] == pytest.approx(moved, abs=1e-6)
    assert rig.last.at_rest
    rig.follow(*moved)
    rig.player.inhibit("")
    rig.offer(start=moved[0], speed=0.0)
    rig.run(0.5)
    rig.require_smooth()


def home_elsewhere(rig: Rig, way: float, seconds: float) -> None:
    """Another controller moves the robot slowly."""
    first = rig.joints
    for tick in range(1, round(seconds / PERIOD_S) + 1):
        share = tick * PERIOD_S / seconds
        rig.see(first[0] + share * way, first[1])
        rig.run(PERIOD_S)


def stopped_rig() -> Rig:
    """A robot that has moved, rests after a stop, and is measured where it is held."""
    rig = Rig(measured=True, max_following_errors={0: 0.5, 1: 0.5})
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(0.5)
    rig.player.inhibit("stopped by ~/stop")
    rig.run(1.0)
    assert rig.last.at_rest
    return rig


@pytest.mark.parametrize("is_allowed", [False, True])
def test_nothing_is_commanded_while_another_controller_moves_a_stopped_robot(
    is_allowed: bool,
) -> None:
    """The controller that takes over again must not be sent back to where the robot was held."""
    rig = stopped_rig()
    home_elsewhere(rig, 0.2, 0.5)
    assert rig.last.is_withheld
    assert "the robot was moved since" in rig.player.reason
    rig.player.inhibit("" if is_allowed else "stopped by ~/stop")
    since = len(rig.commands)
    home_elsewhere(rig, 0.2, 0.5)
    assert all(command.is_withheld for command in rig.commands[since:])
    rig.run(1.5)
    told = [c.values["arm"] for c in rig.commands[since:] if not c.is_withheld]
    assert told
    for values in told:
        assert values == pytest.approx(rig.joints, abs=1e-6)
    assert "the robot was moved" not in rig.player.reason


def test_a_robot_that_is_moved_on_while_it_is_yielded_to_is_held_where_it_ends() -> None:
    rig = stopped_rig()
    home_elsewhere(rig, 0.4, 0.3)
    rig.run(0.35)
    since = len(rig.commands)
    home_elsewhere(rig, 0.2, 1.0)
    rig.run(1.5)
    told = [c.values["arm"][0] for c in rig.commands[since:] if not c.is_withheld]
    assert min(told) > rig.joints[0] - 0.021


def test_the_first_command_to_a_robot_that_was_moved_is_where_it_stands() -> None:
    rig = stopped_rig()
    home_elsewhere(rig, 0.4, 0.3)
    rig.run(0.2)
    since = len(rig.commands)
    home_elsewhere(rig, 0.012, 0.3)  # too little to be followed there
    rig.run(1.5)
    told = [c.values["arm"][0] for c in rig.commands[since:] if not c.is_withheld]
    assert told
    assert told == pytest.approx([rig.joints[0]] * len(told), abs=1e-9)


def test_a_gripper_that_nobody_moves_holds_on_while_the_arm_is_moved() -> None:
    """It is held open by what it grips, 0.015 rad beside its command."""
    rig = stopped_rig()
    held = float(rig.last.values["arm"][1])
    rig.see(rig.joints[0], held + 0.015)
    rig.run(0.5)
    home_elsewhere(rig, 0.3, 0.5)
    assert rig.last.is_withheld
    rig.run(1.5)
    assert not rig.last.is_withheld
    assert rig.arm == pytest.approx(rig.joints[0], abs=1e-6)
    assert rig.last.values["arm"][1] == pytest.approx(held, abs=1e-9)


def test_a_robot_that_is_not_measured_any_more_stays_where_it_has_braked() -> None:
    """It does not go back to where it was measured last: it has passed that place by itself."""
    rig = Rig(measured=True, max_following_errors={0: 0.4, 1: 0.4})
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(0.5)
    seen, rig.joints, rig.follows = rig.arm, None, False
    rig.run(0.8)
    braked = rig.arm
    assert rig.last.at_rest
    assert braked > seen + 0.2
    rig.run(2.0)
    assert rig.arm == braked
    assert not rig.last.is_withheld
    assert "s old, the limit is 0.5 s" in rig.player.reason


def test_a_robot_that_goes_back_by_itself_is_held_as_before() -> None:
    rig = stopped_rig()
    held = rig.arm
    rig.see(held + 0.1, -held)
    rig.run(0.1)
    assert rig.last.is_withheld
    rig.see(held, -held)
    rig.run(1.0)
    assert not rig.last.is_withheld
    assert rig.arm == held


def test_a_chunk_for_a_robot_that_is_being_moved_begins_where_it_is() -> None:
    rig = stopped_rig()
    home_elsewhere(rig, 0.3, 0.5)
    here = rig.joints
    rig.player.inhibit("")
    rig.follow(*here)
    since = len(rig.commands)
    rig.offer(start=here[0], speed=0.0)
    rig.run(0.3)
    told = np.array([c.values["arm"][0] for c in rig.commands[since:] if not c.is_withheld])
    assert np.abs(told - here[0]).max() < 1e-6
    assert not rig.last.holding


def test_a_robot_that_is_pushed_while_it_may_move_is_still_held() -> None:
    rig = stopped_rig()
    rig.player.inhibit("")
    held = rig.arm
    rig.see(held + 0.1, -held)
    rig.run(1.0)
    assert not any(command.is_withheld for command in rig.commands)
    assert rig.arm == held


def test_a_robot_moved_while_it_holds_is_begun_from_where_it_is_without_a_step() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(2.0)
    held = rig.arm
    rig.see(held + 0.4, -held)
    rig.run(0.2)
    assert rig.arm == held  # it may be pushed: it holds
    rig.offer(start=held + 0.4, speed=0.0, horizon=60)
    rig.run(1.0)
    assert rig.arm == pytest.approx(held + 0.4)
    rig.require_smooth()


def test_a_jump_is_judged_from_where_the_robot_was_moved_to() -> None:
    rig = Rig(measured=True, max_jump=0.3)
    rig.follow(0.0, 0.0)
    rig.offer()
    rig.run(2.0)
    rig.follow(2.0, -2.0)
    with pytest.raises(ChunkRefusedError, match=r"from 2\.000 to 0\.500"):
        rig.offer(start=0.5)
    rig.offer(start=2.1)


def test_an_arm_that_sags_and_a_grip_that_holds_are_not_taken_for_moved() -> None:
    """The second joint is a gripper closed on something: it never gets where it is told to."""
    rig = Rig(measured=True)
    rig.see(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(0.01)
    rig.see(-0.05, 0.3)
    rig.run(2.0)
    rig.player.inhibit("the enable signal is off")
    rig.run(1.0)
    assert (np.array([c.values["arm"] for c in rig.commands[50:]]) == rig.last.values["arm"]).all()
    rig.player.inhibit("")
    rig.offer(speed=0.0)
    rig.run(0.5)
    assert rig.last.values["arm"] == pytest.approx([0.0, 0.0])


def test_a_robot_moved_out_of_its_range_while_it_is_stopped_is_held_there() -> None:
    rig = Rig(measured=True, limits={0: NARROW, 1: LIMITS})
    rig.follow(0.3, 0.0)
    rig.offer(start=0.3, speed=0.0)
    rig.run(0.3)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.3)
    rig.see(1.1, 0.0)
    rig.run(1.0)
    assert rig.arm == pytest.approx(1.1)
    rig.player.inhibit("")
    rig.run(0.5)
    assert rig.arm == pytest.approx(1.1)
    with pytest.raises(ChunkRefusedError, match="outside its range"):
        rig.offer(start=0.5)


def follows_with_sag(rig: Rig, sag: float, seconds: float) -> None:
    """A compliant arm: it stays below what it is told by the same distance."""
    for _ in range(round(seconds / PERIOD_S)):
        told = rig.told[0]
        rig.see(told - sag, -told)
        rig.run(PERIOD_S)


@pytest.mark.parametrize("sag", [0.05, 0.3])
def test_an_arm_that_begins_to_sag_while_it_is_stopped_does_not_creep(sag: float) -> None:
    """Every yielding lowers its command, and it sags below that again."""
    rig = Rig(measured=True, max_following_errors={0: 0.5, 1: 0.5})
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(1.5)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.5)
    follows_with_sag(rig, sag, 20.0)
    assert rig.arm >= -1.5 * sag


def test_a_blocked_compliant_arm_does_not_creep_after_its_fault() -> None:
    rig = Rig(measured=True, max_following_errors={0: 0.2, 1: 0.2})
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(1.5)
    follows_with_sag(rig, 0.3, 20.0)
    assert rig.player.fault
    assert rig.arm >= -0.45


def test_a_chunk_after_a_stop_at_rest_begins_where_the_robot_was_moved_to() -> None:
    rig = Rig(measured=True, silent_at_rest=True)
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(1.5)
    rig.follow(0.4, 0.0)
    rig.player.hold(rig.now_ns, "told to stop")
    rig.offer(start=0.0, speed=0.0)
    rig.run(PERIOD_S)
    assert rig.arm == 0.4


def test_a_velocity_begins_at_zero_however_a_chunk_begins() -> None:
    bodies = {"base": BodyLimits(1.0, 5.0, 3.0, 15.0)}
    player = MotionPlayer(
        ActionLayout({"base": 6}, velocities=["base"]),
        PlayerSettings(period_s=PERIOD_S, bodies=bodies),
    )
    chunk = Chunk(1, T0_NS + 1, 0.05, {"base": np.full((1, 6), 2.0)})
    player.tick(T0_NS)
    player.offer(chunk, T0_NS)
    command = player.tick(T0_NS + round(PERIOD_S * 1e9))
    assert command is not None
    assert np.abs(command.values["base"]).max() <= 5.0 * PERIOD_S + 1e-9


def test_a_stop_before_the_first_command_moves_nothing() -> None:
    rig = Rig(measured=True, blend=BlendMode.REPLACE, max_jump=0.5)
    rig.follow(0.0, 0.0)
    rig.offer(start=0.4, speed=0.0)
    rig.player.inhibit("stopped by hand")
    rig.run(0.5)
    assert (rig.path() == 0.0).all()


def test_the_last_resort_brakes_from_where_a_motion_begins() -> None:
    rig = Rig(measured=True, silent_at_rest=True)
    rig.follow(0.0, 0.0)
    rig.offer(speed=0.0)
    rig.run(1.5)
    rig.follow(0.4, 0.0)
    rig.offer(start=0.4, speed=0.0)
    brake = rig.player.fallback_brake()
    assert brake is not None
    assert brake.step()[0] == 0.4


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_a_robot_that_yields_to_where_it_is_blocked_comes_to_a_standstill(seed: int) -> None:
    """Also at 0, where what rounding leaves of the way is not a multiple of anything."""
    rng = np.random.default_rng(seed)
    rig = Rig(measured=True, max_following_errors={0: 0.3, 1: 0.3})
    rig.see(0.0, 0.0)
    rig.offer(0.0, 1.0, horizon=200)
    for _ in range(200):
        rig.stall(float(rng.uniform(-0.004, 0.006)))
        rig.run(0.01)
        rig.player.inhibit(rig.player.fault)
    for _ in range(400):
        rig.stall(float(rng.uniform(-0.003, 0.003)))
        rig.run(0.01)
    assert rig.player.fault
    assert abs(rig.arm) < 1e-9
    assert rig.last.at_rest
