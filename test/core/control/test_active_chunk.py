# SPDX-License-Identifier: Apache-2.0
"""How a chunk comes to rest at its last step, and how a blend is faded."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk, RampLimits, plan_active_chunk
from gr00t_policy_core.control.blend import MAX_STRETCH, OffsetBlend, plan_offset_blend
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.schedule_settings import ScheduleSettings

T0_NS = 1_700_000_000_000_000_000
MS_NS = 1_000_000
DT_S, HORIZON = 0.05, 21  # a second
ARM = ActionLayout({"arm": 1})
GENTLE = RampLimits(np.array([5.0]), np.array([100.0]))


def ramp(speed: float, horizon: int = HORIZON) -> np.ndarray:
    return speed * DT_S * np.arange(horizon, dtype=np.float64)[:, None]


def playing(slowing: float) -> ActiveChunk:
    rows = ramp(1.0)
    return ActiveChunk(Chunk(1, T0_NS, DT_S, {"arm": rows}), rows, T0_NS, T0_NS, 0.0, slowing, 1.0)


def ramp_down_s(
    rows: np.ndarray, ramp_limits: RampLimits = GENTLE, *, from_rest: bool = False
) -> float:
    return chunk_played(rows, ramp_limits, from_rest=from_rest).ramp_down_s


def chunk_played(
    rows: np.ndarray, ramp_limits: RampLimits = GENTLE, *, from_rest: bool = False
) -> ActiveChunk:
    chunk = Chunk(1, T0_NS, DT_S, {"arm": rows})
    return plan_active_chunk(
        chunk, ARM, ramp_limits, start_ns=T0_NS, now_ns=T0_NS, from_rest=from_rest
    )


def instants_ns(seconds: float) -> list[int]:
    return [T0_NS + ms * MS_NS for ms in range(round(seconds * 1e3))]


# Slowing down


def test_before_it_slows_down_a_chunk_is_played_by_the_clock() -> None:
    one = playing(0.2)
    assert [one.steps_at(T0_NS + ms * MS_NS) for ms in (0, 25, 800)] == pytest.approx([0, 0.5, 16])
    assert one.rate_at(T0_NS + 800 * MS_NS) == 1.0
    assert one.lag_s(T0_NS + 800 * MS_NS) == 0.0


def test_the_last_step_is_reached_at_rest_and_later_by_what_it_slowed_down_over() -> None:
    one = playing(0.2)
    assert (one.end_ns - one.last_ns) * 1e-9 == pytest.approx(0.2)
    assert one.steps_at(one.end_ns) == HORIZON - 1
    assert one.rate_at(one.end_ns) == 0.0
    assert one.lag_s(one.end_ns) == pytest.approx(0.2)
    assert one.lag_s(one.end_ns + 50 * MS_NS) == pytest.approx(0.25)


def test_the_rate_is_that_of_the_steps_and_falls_smoothly() -> None:
    one = playing(0.2)
    steps = np.array([one.steps_at(ns) for ns in instants_ns(1.3)])
    rates = np.array([one.rate_at(ns) for ns in instants_ns(1.3)])
    between = (rates[1:] + rates[:-1]) / 2
    assert_allclose(np.diff(steps) * DT_S / 1e-3, between, atol=1e-4)
    assert (np.diff(rates) <= 0.0).all()
    assert np.abs(np.diff(rates)).max() == pytest.approx(1.5 * 1e-3 / 0.4, rel=1e-3)


def test_a_chunk_that_ends_at_rest_does_not_slow_down() -> None:
    rows = np.concatenate([ramp(1.0), np.full((10, 1), 1.0)])
    assert ramp_down_s(rows) == 0.0


@pytest.mark.parametrize("speed", [0.05, 0.5, 1.3])
def test_it_slows_down_as_gently_as_asked_for(speed: float) -> None:
    rows = ramp(speed, 60)
    schedule = ChunkSchedule(ARM, ScheduleSettings(cubic=True), GENTLE)
    schedule.offer(Chunk(1, T0_NS, DT_S, {"arm": rows}), T0_NS)
    path = []
    for ns in instants_ns(4.0):
        schedule.advance(ns)
        place = schedule.path(ns)
        assert place is not None
        path.append(place[0])
    bends, jerks = np.diff(path, 2) / 1e-6, np.diff(path[::10], 3) / 1e-6
    assert np.abs(bends).max() <= 5.0 * 1.01
    assert np.abs(jerks).max() <= 100.0 * 1.01
    assert max(path) == path[-1] == pytest.approx(rows[-1, 0], abs=1e-12)


def test_a_chunk_too_short_for_that_slows_down_from_its_beginning() -> None:
    assert ramp_down_s(ramp(3.0, 5)) == pytest.approx(4 * DT_S)
    assert ramp_down_s(ramp(3.0, 1)) == 0.0


def test_what_has_no_limits_does_not_slow_down() -> None:
    assert ramp_down_s(ramp(3.0), RampLimits.none(1)) == 0.0


def test_a_velocity_falls_to_nothing_and_the_way_that_it_goes_is_kept() -> None:
    layout = ActionLayout({"base": 1}, velocities=["base"])
    schedule = ChunkSchedule(
        layout, ScheduleSettings(), RampLimits(np.array([2.0]), np.array([1e3]))
    )
    schedule.offer(Chunk(1, T0_NS, DT_S, {"base": np.full((HORIZON, 1), 0.5)}), T0_NS)
    speeds = []
    for ns in instants_ns(2.0):
        schedule.advance(ns)
        place = schedule.path(ns)
        assert place is not None
        speeds.append(place[0])
    assert speeds[-1] == 0.0
    assert np.abs(np.diff(speeds)).max() <= 2.0 * 1e-3 * 1.01
    assert sum(speeds) * 1e-3 == pytest.approx(0.5 * 1.0, abs=1e-3)


def test_time_lost_by_slowing_down_does_not_pass_for_the_next_chunk() -> None:
    schedule = ChunkSchedule(ARM, ScheduleSettings(), GENTLE)
    rows = ramp(1.0)
    slowing = ramp_down_s(rows)
    schedule.offer(Chunk(1, T0_NS, DT_S, {"arm": rows}), T0_NS)
    set_out_s = chunk_played(rows, from_rest=True).ramp_up_s
    observed_ns = T0_NS + 600 * MS_NS  # before it slows down
    now_ns = T0_NS + 1100 * MS_NS
    schedule.advance(now_ns)
    place = schedule.path(now_ns)
    assert place is not None
    assert 1.0 - slowing < place[0] < 1.0  # in the middle of it
    onward = Chunk(2, observed_ns, DT_S, {"arm": 0.6 - set_out_s + rows})
    assert schedule.entry(schedule.plan(onward, now_ns), now_ns)[0] == pytest.approx(
        place[0], abs=1e-6
    )


# Setting out


def test_from_rest_a_chunk_is_set_going_as_gently_as_asked_for() -> None:
    one = chunk_played(ramp(1.0), from_rest=True)
    positions = np.array([DT_S * one.steps_at(ns) for ns in instants_ns(1.5)])
    assert positions[0] == one.rate_at(T0_NS) == 0.0
    assert 4.5 < np.diff(positions, 2).max() / 1e-6 <= 5.0 * 1.01
    assert one.steps_at(T0_NS + 500 * MS_NS) * DT_S == pytest.approx(0.5 - one.ramp_up_s)
    assert positions[-1] == pytest.approx(1.0)


def test_a_chunk_too_short_to_set_out_and_slow_down_gently_is_played_more_slowly() -> None:
    one = chunk_played(ramp(3.0, 3), from_rest=True)
    assert 0.1 < one.peak_rate < 0.5
    seconds = (one.end_ns - T0_NS) * 1e-9
    positions = np.array([3.0 * DT_S * one.steps_at(ns) for ns in instants_ns(seconds)])
    assert np.abs(np.diff(positions, 2)).max() / 1e-6 <= 5.0 * 1.01
    assert (np.diff(positions) >= 0.0).all()
    assert positions[-1] == pytest.approx(0.3, abs=1e-4)


def test_a_chunk_that_begins_at_rest_loses_no_time() -> None:
    rows = np.concatenate([np.zeros((6, 1)), ramp(0.1)])
    one = chunk_played(rows, from_rest=True)
    assert one.ramp_up_s == 0.0
    assert one.steps_at(T0_NS + 400 * MS_NS) == pytest.approx(8.0)


# Fading


def test_a_fade_begins_with_its_offset_and_rate_and_ends_with_nothing() -> None:
    fade = OffsetBlend(T0_NS, 0.4, np.array([0.2, -0.1]), np.array([1.0, 0.0]))
    left = np.array([fade.at(ns) for ns in instants_ns(0.4)])
    assert_allclose(left[0], [0.2, -0.1])
    assert_allclose((left[1] - left[0]) / 1e-3, [1.0, 0.0], atol=1e-3)
    bends = np.diff(left, 2, axis=0) / 1e-6
    assert_allclose(bends[[0, -1]], 0.0, atol=1.0)  # 10 in the middle
    assert_allclose(left[-1], 0.0, atol=1e-6)
    assert fade.at(fade.end_ns) is None


def test_a_fade_lasts_as_long_as_it_has_to_be_gentle() -> None:
    offset, rate = np.array([0.05]), np.array([0.6])
    short = plan_offset_blend(T0_NS, 0.1 * offset, 0.1 * rate, blend_s=0.3, ramp_limits=GENTLE)
    assert short.duration_s == 0.3
    longer = plan_offset_blend(T0_NS, offset, rate, blend_s=0.4, ramp_limits=GENTLE)
    assert 0.4 < longer.duration_s < 0.4 * MAX_STRETCH
    left = np.array([longer.at(ns) for ns in instants_ns(longer.duration_s)])
    assert np.abs(np.diff(left, 2, axis=0)).max() / 1e-6 <= 5.0
    far = plan_offset_blend(T0_NS, 20 * offset, rate, blend_s=0.4, ramp_limits=GENTLE)
    assert far.duration_s == 0.4 * MAX_STRETCH


@pytest.mark.parametrize("horizon", [1, 3, 6])
def test_a_chunk_shorter_than_the_fade_reaches_its_last_step(horizon: int) -> None:
    schedule = ChunkSchedule(ARM, ScheduleSettings(blend_s=0.4), GENTLE)
    schedule.offer(Chunk(1, T0_NS, DT_S, {"arm": ramp(0.0, 40)}), T0_NS)
    schedule.offer(Chunk(2, T0_NS, DT_S, {"arm": 0.05 + ramp(0.2, horizon)}), T0_NS)
    path = []
    for ns in instants_ns(1.5):
        schedule.advance(ns)
        place = schedule.path(ns)
        assert place is not None
        path.append(place[0])
    assert not schedule.is_playing
    assert path[-1] == pytest.approx(0.05 + 0.2 * DT_S * (horizon - 1), abs=1e-12)
    assert np.abs(np.diff(path)).max() <= 0.6e-3  # no step anywhere
