# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: what moves, what stops it, and how it goes on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_limits import require_within

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.layout import Layout
from gr00t_policy_core.control.limits import LIMIT_NAMES, JointLimits
from gr00t_policy_core.control.player import Command, MotionPlayer, PlayerSettings
from gr00t_policy_core.control.robot_limits import GENTLE_SHARE
from gr00t_policy_core.control.schedule import ScheduleSettings, Seam

T0_NS = 1_700_000_000_000_000_000
PERIOD_S, DT_S = 0.01, 0.05
LIMITS = JointLimits(-4.0, 4.0, 3.0, 25.0, 500.0)


def setting_out_s(speed: float) -> float:
    """What a ramp of that speed falls behind while it is set going, s: so gently that the
    acceleration and the jerk stay below a share of the limits."""
    acceleration, jerk = GENTLE_SHARE * LIMITS.acceleration, GENTLE_SHARE * LIMITS.jerk
    return 0.5 * max(1.5 * speed / acceleration, math.sqrt(6.0 * speed / jerk))


class Rig:
    """A player of two joints `arm` and a twist `base`, on a clock that only `run` moves."""

    def __init__(self, *, seam: Seam = Seam.OFFSET_FADE, **settings: Any) -> None:
        values: dict[str, Any] = {
            "limits": {0: LIMITS, 1: LIMITS},
            "max_joint_ages_s": {0: 0.5, 1: 0.5},
            **settings,
        }
        self.player = MotionPlayer(
            Layout({"arm": 2, "base": 1}, velocities=["base"]),
            PlayerSettings(period_s=PERIOD_S, schedule=ScheduleSettings(seam), **values),
        )
        self.now_ns = T0_NS
        self.commands: list[Command] = []
        self.joints: tuple[float, float] | None = None
        self.numbers = 0

    def see(self, *joints: float) -> None:
        """The joints are told at every tick from now on; no values: no longer."""
        self.joints = (joints[0], joints[1]) if joints else None
        self._measure()

    def offer(
        self, start: float = 0.0, speed: float = 0.5, *, late_s: float = 0.0, horizon: int = 20
    ) -> None:
        """A chunk of a ramp whose observation is `late_s` old."""
        self.numbers += 1
        climb = start + speed * DT_S * np.arange(horizon)[:, None]
        actions = {"arm": np.hstack([climb, -climb]), "base": np.full((horizon, 1), speed)}
        t0_ns = self.now_ns - round(late_s * 1e9)
        self.player.offer(Chunk(self.numbers, t0_ns, DT_S, actions), self.now_ns)

    def run(self, seconds: float) -> list[Command | None]:
        """The commands of the ticks until then."""
        commands = []
        for _ in range(round(seconds / PERIOD_S)):
            self.now_ns += round(PERIOD_S * 1e9)
            self._measure()
            command = self.player.tick(self.now_ns)
            commands.append(command)
            if command is not None:
                self.commands.append(command)
        return commands

    def _measure(self) -> None:
        if self.joints is not None:
            self.player.measure(dict(enumerate(self.joints)), self.now_ns)

    @property
    def last(self) -> Command:
        return self.commands[-1]

    @property
    def arm(self) -> float:
        return float(self.last.values["arm"][0])

    def require_smooth(self, *stood_at: float) -> None:
        """The commands so far keep the limits, from a standstill where that place is known."""
        for joint in (0, 1):
            before = [stood_at[joint]] * 3 if stood_at else []
            series = [command.values["arm"][joint] for command in self.commands]
            require_within(np.array(before + series), LIMITS, PERIOD_S)


# The first chunk


def test_nothing_is_commanded_before_the_first_chunk() -> None:
    rig = Rig()
    rig.see(0.0, 0.0)
    assert rig.run(0.1) == [None] * 10
    assert rig.player.reason == "no chunk received yet"


def test_a_robot_at_rest_begins_at_the_first_step_however_late_the_chunk_is() -> None:
    rig = Rig()
    rig.see(1.0, -1.0)
    rig.offer(start=1.0, late_s=0.35)
    rig.run(0.01)
    assert rig.arm == pytest.approx(1.0, abs=0.01)
    assert rig.player.counts.steps_skipped == 0
    rig.run(0.5)
    assert rig.arm == pytest.approx(1.0 + 0.5 * (0.51 - setting_out_s(0.5)), abs=1e-6)
    rig.require_smooth(1.0, -1.0)


def test_the_first_chunk_is_judged_by_the_step_that_it_begins_with() -> None:
    """Its step of now lies further than max_jump from the joints, its first step does not."""
    rig = Rig(max_jump=0.3)
    rig.see(0.0, 0.0)
    rig.offer(speed=1.5, late_s=0.35)
    rig.run(0.05)
    assert not rig.last.holding


def test_it_begins_where_the_joints_are_measured() -> None:
    rig = Rig()
    rig.see(0.3, -0.2)
    rig.offer(start=0.1)
    rig.run(0.01)
    assert_allclose(rig.last.values["arm"], [0.3, -0.2], atol=1e-3)
    rig.run(0.6)
    assert rig.arm == pytest.approx(0.1 + 0.5 * (0.61 - setting_out_s(0.5)), abs=1e-3)
    rig.require_smooth(0.3, -0.2)


def test_where_no_joint_is_seen_the_first_step_is_believed_to_be_where_the_robot_is() -> None:
    rig = Rig()
    rig.offer(start=2.0, late_s=0.4)
    rig.run(0.01)
    assert rig.arm == pytest.approx(2.0, abs=1e-3)
    rig.run(0.5)
    assert rig.arm == pytest.approx(2.0 + 0.5 * (0.51 - setting_out_s(0.5)), abs=1e-6)
    rig.require_smooth(2.0, -2.0)


def test_a_late_chunk_of_a_moving_robot_skips_the_steps_that_have_passed() -> None:
    rig = Rig()
    rig.offer(horizon=40)
    rig.run(1.0)
    rig.offer(start=0.3, late_s=0.4)
    assert rig.player.counts.steps_skipped == 8
    rig.run(0.3)
    assert rig.arm == pytest.approx(0.3 + 0.5 * 0.7, abs=1e-6)


def test_a_joint_that_is_not_among_those_seen_is_taken_to_be_where_the_chunk_begins() -> None:
    rig = Rig()
    rig.player.measure({0: 0.1}, rig.now_ns)
    rig.offer(start=0.1)
    rig.run(0.01)
    assert rig.last.values["arm"][1] == pytest.approx(-0.1, abs=0.01)


# Refusing


def test_a_chunk_that_begins_too_far_away_is_refused_by_name() -> None:
    rig = Rig(max_jump=0.5)
    rig.see(0.0, 0.0)
    with pytest.raises(
        ChunkRefusedError,
        match=r"chunk 1: arm\[0\] would jump by 0\.700, from 0\.000 to 0\.700; max_jump is 0\.5",
    ):
        rig.offer(start=0.7)
    assert rig.run(0.1) == [None] * 10
    assert "would jump" in rig.player.reason
    assert (rig.player.counts.refused, rig.player.counts.chunks) == (1, 0)


def test_while_a_chunk_is_played_a_jump_is_measured_from_the_command() -> None:
    rig = Rig(max_jump=0.2)
    rig.see(0.0, 0.0)
    rig.offer(horizon=40)
    rig.run(0.5)
    with pytest.raises(ChunkRefusedError, match=r"from 0\.2.. to 1\.000"):
        rig.offer(start=1.0)
    rig.run(0.2)
    assert not rig.last.holding
    assert rig.arm == pytest.approx(0.5 * (0.7 - setting_out_s(0.5)), abs=1e-6)


def test_a_refused_chunk_leaves_what_is_played_alone_and_the_reason_empty() -> None:
    rig = Rig()
    rig.offer(horizon=40)
    rig.run(0.1)
    with pytest.raises(ChunkRefusedError, match="older observation"):
        rig.offer(late_s=0.3, horizon=40)
    rig.run(0.1)
    assert rig.player.reason == ""
    assert rig.last.chunk_id == 1


# Running out


def test_a_used_up_chunk_settles_at_its_last_step_and_rests() -> None:
    rig = Rig()
    rig.offer(speed=1.0)
    rig.run(0.95)
    assert not any(command.holding for command in rig.commands[:-1])
    rig.run(1.0)
    assert rig.last.holding
    assert rig.last.at_rest
    assert rig.arm == pytest.approx(0.95, abs=1e-9)
    assert rig.player.reason == "chunk 1 ended and no other came"
    assert rig.player.counts.holds == 1
    rig.require_smooth()


def test_a_velocity_does_not_stay_commanded() -> None:
    rig = Rig()
    rig.offer(speed=1.0)
    rig.run(0.5)
    assert rig.last.values["base"][0] == 1.0
    rig.run(0.7)
    assert rig.last.holding
    assert rig.last.values["base"][0] == 0.0
    speeds = [0.0] + [float(command.values["base"][0]) for command in rig.commands]
    assert np.abs(np.diff(speeds)).max() < 0.1  # it rises and falls with the rate of the chunk


def test_a_chunk_that_comes_back_is_blended_in() -> None:
    rig = Rig()
    rig.offer(speed=1.0)
    rig.run(2.0)
    rig.offer(start=1.2, speed=-0.5, late_s=0.2)
    rig.run(0.8)
    assert not rig.last.holding
    assert rig.arm == pytest.approx(1.2 - 0.5 * (0.8 - setting_out_s(0.5)), abs=1e-6)
    rig.require_smooth()


def test_a_joint_that_was_moved_by_hand_while_holding_is_begun_from_where_it_is() -> None:
    rig = Rig(max_jump=0.3)
    rig.see(0.0, 0.0)
    rig.offer()
    rig.run(2.0)
    rig.see(2.0, -2.0)
    with pytest.raises(ChunkRefusedError, match=r"from 2\.000 to 0\.500"):
        rig.offer(start=0.5)
    rig.offer(start=2.1)
    rig.run(0.01)
    assert rig.arm == pytest.approx(2.0, abs=1e-3)


# Stopping


@pytest.mark.parametrize("speed", [0.5, 2.5])
def test_what_is_forbidden_brakes_at_once_and_says_why(speed: float) -> None:
    rig = Rig()
    rig.offer(speed=speed, horizon=40)
    rig.run(0.5)
    rig.player.allow("the enable signal is off")
    rig.run(0.25)
    assert rig.last.at_rest
    assert rig.arm < speed * 0.5 + 0.5 * speed * 0.25
    assert rig.player.reason == "the enable signal is off"
    with pytest.raises(ChunkRefusedError, match="chunk 2: the enable signal is off"):
        rig.offer()
    rig.require_smooth()


def test_a_stop_that_is_taken_back_while_braking_does_not_reverse_the_arm() -> None:
    rig = Rig()
    rig.offer(speed=2.5, horizon=40)
    rig.run(0.5)
    rig.player.allow("the enable signal is off")
    rig.run(0.03)
    rig.player.allow("")
    rig.run(0.5)
    positions = np.array([command.values["arm"][0] for command in rig.commands])
    assert (np.diff(positions) >= 0.0).all()
    assert rig.last.at_rest
    assert rig.player.reason == "no chunk came after a stop: the enable signal is off"
    rig.require_smooth()


def test_once_allowed_again_the_next_chunk_is_blended_in() -> None:
    rig = Rig()
    rig.offer(speed=2.0, horizon=40)
    rig.run(0.5)
    rig.player.allow("stopped by hand")
    rig.run(0.3)
    rig.player.allow("")
    rig.offer(start=1.3, speed=0.5)
    rig.run(0.8)
    assert rig.player.reason == ""
    assert rig.arm == pytest.approx(1.3 + 0.5 * (0.8 - setting_out_s(0.5)), abs=1e-6)
    rig.require_smooth()


def test_a_chunk_may_come_while_the_arm_is_still_braking() -> None:
    rig = Rig()
    rig.offer(speed=2.5, horizon=40)
    rig.run(0.5)
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
    rig = Rig()
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
    rig = Rig()
    rig.see(0.0, 0.0)
    rig.offer(speed=1.0, horizon=60)
    rig.joints = None
    for _ in range(60):
        rig.player.measure({0: 0.0}, rig.now_ns)
        rig.run(PERIOD_S)
    assert rig.player.reason.startswith("the position of arm[1] is 0.6")


def test_positions_from_the_future_are_of_another_clock() -> None:
    rig = Rig()
    rig.player.measure({0: 0.0}, rig.now_ns + 10_000_000_000)
    with pytest.raises(ChunkRefusedError, match=r"arm\[0\] is 10\.00 s in the future: clocks"):
        rig.offer()


def test_a_clock_that_was_set_back_brakes_and_the_new_time_is_played() -> None:
    rig = Rig()
    rig.offer(speed=2.5, horizon=40)
    rig.run(0.5)
    rig.now_ns -= 60_000_000_000
    rig.run(0.5)
    positions = np.array([command.values["arm"][0] for command in rig.commands])
    assert (np.diff(positions) >= 0.0).all()
    assert rig.player.reason == "the clock was set back by 59.99 s"
    rig.offer(start=rig.arm + 0.1)
    rig.run(0.2)
    assert rig.player.reason == ""
    rig.require_smooth()


def test_a_clock_that_jumps_ahead_brakes_where_the_arm_is() -> None:
    rig = Rig()
    rig.offer(speed=2.0, horizon=40)
    rig.run(0.5)
    rig.now_ns += 60_000_000_000
    rig.run(0.5)
    assert rig.last.at_rest
    assert rig.arm < 1.3  # its last step is at 3.9
    assert rig.player.reason == "time went on by 60.01 s at once"
    rig.require_smooth()


# What is told


def test_a_command_tells_the_chunk_and_the_observation_behind_it() -> None:
    rig = Rig()
    rig.offer(late_s=0.1)
    rig.run(0.16)
    assert (rig.last.chunk_id, rig.last.steps_left) == (1, 18)
    assert rig.last.observed_ns == T0_NS - 100_000_000
    rig.run(1.0)
    assert (rig.last.chunk_id, rig.last.steps_left, rig.last.observed_ns) == (1, 0, None)


def test_the_seam_jump_is_that_of_the_newest_chunk() -> None:
    rig = Rig()
    rig.offer(horizon=40)
    rig.run(0.5)
    rig.offer(start=0.35)
    was = 0.5 * (0.5 - setting_out_s(0.5))
    assert rig.player.seam_jump == pytest.approx(0.35 - was)


def test_limits_that_bind_are_counted_by_name_and_all_names_are_there_from_the_start() -> None:
    rig = Rig(seam=Seam.REPLACE)
    assert dict(rig.player.counts.limits) == dict.fromkeys(LIMIT_NAMES, 0)
    rig.offer(speed=0.0)
    rig.run(0.2)
    assert rig.player.counts.limits.total() == 0
    rig.offer(start=2.0)
    rig.run(0.5)
    assert rig.player.counts.limits["velocity"] > 0
    assert set(rig.player.counts.limits) == set(LIMIT_NAMES)
    rig.require_smooth()


def test_fresh_ticks_are_counted() -> None:
    rig = Rig()
    rig.offer(horizon=11)
    rig.run(1.0)
    counts = rig.player.counts
    # 50 ticks of chunk, and 0.14 s more to set out and to slow down.
    assert (counts.ticks, counts.fresh, counts.holds) == (100, 64, 1)


def test_values_without_limits_follow_the_path_itself() -> None:
    rig = Rig(limits={})
    rig.offer()
    rig.run(0.2)
    rig.offer(start=50.0)
    rig.run(0.3)
    assert rig.arm == pytest.approx(50.0 + 0.15)
    assert math.isfinite(rig.arm)
