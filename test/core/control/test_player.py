# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: what moves, and what is told of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from player_rig import T0_NS, Rig, setting_out_s

from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.joint_limits import LIMIT_NAMES

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
    with pytest.raises(ChunkRefusedError, match="comes from an older observation"):
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


# What is told


def test_a_command_tells_the_chunk_and_the_observation_behind_it() -> None:
    rig = Rig()
    rig.offer(late_s=0.1)
    rig.run(0.16)
    assert (rig.last.chunk_id, rig.last.steps_left) == (1, 18)
    assert rig.last.observed_ns == T0_NS - 100_000_000
    rig.run(1.0)
    assert (rig.last.chunk_id, rig.last.steps_left, rig.last.observed_ns) == (1, 0, None)


def test_the_chunk_jump_is_that_of_the_newest_chunk() -> None:
    rig = Rig()
    rig.offer(horizon=40)
    rig.run(0.5)
    rig.offer(start=0.35)
    was = 0.5 * (0.5 - setting_out_s(0.5))
    assert rig.player.chunk_jump == pytest.approx(0.35 - was)


def test_limits_that_bind_are_counted_by_name_and_all_names_are_there_from_the_start() -> None:
    rig = Rig(blend=BlendMode.REPLACE)
    assert dict(rig.player.counts.limit_hits) == dict.fromkeys(LIMIT_NAMES, 0)
    rig.offer(speed=0.0)
    rig.run(0.2)
    assert rig.player.counts.limit_hits.total() == 0
    rig.offer(start=2.0)
    rig.run(0.5)
    assert rig.player.counts.limit_hits["velocity"] > 0
    assert set(rig.player.counts.limit_hits) == set(LIMIT_NAMES)
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
