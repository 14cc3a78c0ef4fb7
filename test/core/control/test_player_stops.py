# SPDX-License-Identifier: Apache-2.0
"""What stops a player, and how it goes on."""

from __future__ import annotations

import numpy as np
import pytest
from player_rig import PERIOD_S, Rig, setting_out_s

from gr00t_policy_core.control.chunk import ChunkRefusedError


def playing(speed: float) -> Rig:
    """An arm that has played half a second of a chunk of two, which moves it at `speed`, rad/s."""
    rig = Rig()
    rig.offer(speed=speed, horizon=40)
    rig.run(0.5)
    return rig


@pytest.mark.parametrize("speed", [0.5, 2.5])
def test_what_is_forbidden_brakes_at_once_and_says_why(speed: float) -> None:
    rig = playing(speed)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.25)
    assert rig.last.at_rest
    assert rig.arm < speed * 0.5 + 0.5 * speed * 0.25
    assert rig.player.reason == "the enable signal is off"
    with pytest.raises(ChunkRefusedError, match="chunk 2: the enable signal is off"):
        rig.offer()
    rig.require_smooth()


def test_a_stop_that_is_taken_back_while_braking_does_not_reverse_the_arm() -> None:
    rig = playing(2.5)
    rig.player.inhibit("the enable signal is off")
    rig.run(0.03)
    rig.player.inhibit("")
    rig.run(0.5)
    positions = np.array([command.values["arm"][0] for command in rig.commands])
    assert (np.diff(positions) >= 0.0).all()
    assert rig.last.at_rest
    assert rig.player.reason == "no chunk came after a stop: the enable signal is off"
    rig.require_smooth()


def test_once_allowed_again_the_next_chunk_is_blended_in() -> None:
    rig = playing(2.0)
    rig.player.inhibit("stopped by hand")
    rig.run(0.3)
    rig.player.inhibit("")
    rig.offer(start=1.3, speed=0.5)
    rig.run(0.8)
    assert rig.player.reason == ""
    assert rig.arm == pytest.approx(1.3 + 0.5 * (0.8 - setting_out_s(0.5)), abs=1e-6)
    rig.require_smooth()


def test_a_chunk_may_come_while_the_arm_is_still_braking() -> None:
    rig = playing(2.5)
    rig.player.hold(rig.now_ns, "told to stop")
    rig.run(0.04)
    rig.offer(start=1.4, speed=1.0)
    rig.run(0.8)
    assert rig.player.reason == ""
    assert rig.arm == pytest.approx(1.4 + 0.8 - setting_out_s(1.0), abs=1e-6)
    rig.require_smooth()


def test_hold_comes_to_rest_with_its_reason() -> None:
    rig = Rig()
    rig.offer(speed=1.0)
    rig.run(0.3)
    rig.player.hold(rig.now_ns, "told to stop")
    rig.run(0.3)
    assert rig.player.reason == "told to stop"
    assert rig.last.at_rest
    assert rig.arm < 0.4
    assert rig.player.counts.holds == 1


def test_joint_positions_that_grow_old_stop_the_motion_and_come_back() -> None:
    rig = Rig(measured=True)
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.run(0.3)
    rig.see()
    rig.run(0.45)
    assert not rig.last.holding
    rig.run(0.5)
    assert rig.last.at_rest
    assert rig.player.reason.startswith("the position of arm[0] is 0.9")
    with pytest.raises(ChunkRefusedError, match=r"the position of arm\[0\]"):
        rig.offer(start=rig.arm)
    rig.see(rig.arm, -rig.arm)
    held = rig.arm
    rig.offer(start=held + 0.1)
    rig.run(0.5)
    assert rig.player.reason == ""
    assert rig.arm == pytest.approx(held + 0.1 + 0.5 * (0.5 - setting_out_s(0.5)), abs=1e-3)
    rig.require_smooth()


def test_one_joint_that_is_told_does_not_vouch_for_another() -> None:
    rig = Rig(measured=True)
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.joints = None
    for _ in range(60):
        rig.player.measure({0: 0.0}, rig.now_ns)
        rig.run(PERIOD_S)
    assert rig.player.reason.startswith("the position of arm[1] is 0.6")


def test_positions_from_the_future_are_of_another_clock() -> None:
    rig = Rig(measured=True)
    rig.player.measure({0: 0.0}, rig.now_ns + 10_000_000_000)
    with pytest.raises(ChunkRefusedError, match=r"arm\[0\] is 10\.00 s in the future: clocks"):
        rig.offer()


def test_a_clock_that_was_set_back_is_told_as_that_and_not_as_joints_from_the_future() -> None:
    rig = Rig(measured=True)
    rig.follow(0.0, 0.0)
    rig.offer(speed=1.0, horizon=40)
    rig.run(0.5)
    rig.now_ns -= 60_000_000_000
    rig.joints = None  # the next measurement comes after the next tick
    rig.run(0.1)
    assert rig.player.reason == "the clock was set back by 59.99 s"


def test_a_clock_that_was_set_back_brakes_and_the_new_time_is_played() -> None:
    rig = playing(2.5)
    rig.now_ns -= 60_000_000_000
    rig.run(0.5)
    positions = np.array([command.values["arm"][0] for command in rig.commands])
    assert (np.diff(positions) >= 0.0).all()
    assert rig.player.reason == "the clock was set back by 59.99 s"
    rig.offer(start=rig.arm + 0.1)
    rig.run(0.2)
    assert rig.player.reason == ""
    rig.require_smooth()


def test_time_that_jumps_ahead_does_not_pass_for_the_chunk() -> None:
    rig = playing(2.0)
    rig.stall(60.0)
    rig.run(0.5)
    assert not rig.last.holding
    assert rig.arm == pytest.approx(2.0 * (1.0 - setting_out_s(2.0)), abs=1e-6)
    assert rig.player.counts.stalls == 1
    rig.require_smooth()


def test_a_clock_that_goes_back_a_little_is_no_stall() -> None:
    rig = playing(2.0)
    rig.stall(-0.05)
    rig.run(0.2)
    assert not rig.last.holding
    assert (rig.player.counts.stalls, rig.player.counts.stalled_ns) == (0, 0)
    rig.require_smooth()


def test_a_tick_that_comes_early_takes_back_a_part_of_the_stall_before_it() -> None:
    rig = playing(2.0)
    rig.stall(0.05)
    rig.run(0.1)
    rig.stall(-0.03)
    rig.run(0.1)
    assert rig.player.counts.stalls == 1
    assert rig.player.counts.stalled_ns == pytest.approx(20e6, abs=1e6)
    rig.require_smooth()
