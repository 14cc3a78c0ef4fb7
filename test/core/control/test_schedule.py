# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: every instant has its place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from schedule_ramps import DT_S, END_MS, T0_NS, at_ms, empty, played, ramp, schedule_with

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.schedule import ChunkProgress, ChunkSchedule

# One chunk


def test_there_is_no_path_before_the_first_chunk() -> None:
    schedule = empty()
    schedule.advance(T0_NS)
    assert schedule.path(T0_NS) is None
    assert not schedule.is_playing
    assert schedule.progress(T0_NS) == ChunkProgress()


def test_the_place_is_that_of_the_instant() -> None:
    schedule = schedule_with(ramp())
    instants_ms = [0.0, 10.0, 25.0, 50.0, 51.0, 149.9, 199.0]
    assert_allclose([played(schedule, ms) for ms in instants_ms], np.array(instants_ms) / 50.0)


def test_the_path_can_be_asked_ahead_of_time() -> None:
    schedule = schedule_with(ramp())
    ahead = schedule.path(at_ms(75.0))
    assert ahead is not None
    assert ahead[0] == pytest.approx(1.5)
    assert played(schedule, 10.0) == pytest.approx(0.2)


def test_a_late_chunk_starts_at_the_step_of_now_not_at_its_first() -> None:
    schedule = schedule_with(ramp(), now_ms=130.0)
    assert played(schedule, 130.0) == pytest.approx(2.6)


def test_the_last_step_is_reached_and_then_held() -> None:
    schedule = schedule_with(ramp())
    values = [played(schedule, ms) for ms in (195.0, 205.0, 215.0, 9000.0)]
    assert_allclose(values, [3.9, 4.0, 4.0, 4.0])


def test_progress_counts_the_steps_that_lie_ahead() -> None:
    schedule = schedule_with(ramp(7))
    left = []
    for ms in (0.0, 10.0, 100.0, 199.0):
        schedule.advance(at_ms(ms))
        left.append(schedule.progress(at_ms(ms)))
    assert [p.steps_left for p in left] == [4, 4, 2, 1]
    assert {(p.chunk_id, p.observed_ns) for p in left} == {(7, T0_NS)}
    schedule.advance(at_ms(END_MS))
    assert schedule.progress(at_ms(END_MS)) == ChunkProgress()


def test_a_chunk_of_one_step_is_a_place_to_hold() -> None:
    schedule = schedule_with(ramp(horizon=1, start=2.0))
    assert [played(schedule, ms) for ms in (0.0, 10.0)] == [2.0, 2.0]


def test_a_chunk_that_starts_shortly_ahead_waits_at_its_first_step() -> None:
    schedule = schedule_with(ramp(t0_ms=30.0, start=5.0))
    assert [played(schedule, ms) for ms in (0.0, 29.0)] == [5.0, 5.0]


def test_cubic_interpolation_goes_through_the_steps_and_bends_smoothly() -> None:
    rows = np.array([[0.0], [1.0], [0.0], [2.0], [2.0]])
    schedule = empty(cubic=True)
    schedule.offer(Chunk(1, T0_NS, DT_S, {"arm": rows}), T0_NS)
    ms = np.linspace(0.0, 199.99, 4001)
    path = np.array([schedule.path(at_ms(float(m))) for m in ms])[:, 0]
    assert_allclose([played(schedule, 50.0 * i) for i in range(4)], rows[:4, 0], atol=1e-12)
    slopes = np.diff(path) / np.diff(ms)
    assert np.abs(np.diff(slopes)).max() < 1e-3  # 0.08 at the corners of straight lines
    assert path.min() > -0.3
    assert path.max() < 2.3


def test_what_stands_does_not_swing_back_before_it_departs_nor_beyond_where_it_arrives() -> None:
    """A gripper that opens and closes: Catmull-Rom alone goes beyond both by 7 % of the way."""
    rows = np.array([[0.2], [0.2], [0.2], [1.0], [1.0], [1.0], [0.2], [1.0], [1.0]])
    schedule = empty(cubic=True)
    schedule.offer(Chunk(1, T0_NS, DT_S, {"arm": rows}), T0_NS)
    path = np.array([played(schedule, float(ms)) for ms in range(400)])
    assert path.min() > 0.2 - 1e-9
    assert path.max() < 1.0 + 1e-9
    assert_allclose(path[:101], 0.2, atol=1e-12)
    assert (np.diff(path[100:151]) >= 0.0).all()


def test_keys_lie_side_by_side_in_the_order_of_the_layout() -> None:
    schedule = ChunkSchedule(ActionLayout({"gripper": 1, "arm": 2}))
    rows = {"arm": np.array([[1.0, 2.0]]), "gripper": np.array([[3.0]])}
    schedule.offer(Chunk(1, T0_NS, DT_S, rows), T0_NS)
    assert_allclose(schedule.path(T0_NS), [3.0, 1.0, 2.0])


# From rest


def test_time_that_the_robot_held_does_not_pass_for_a_chunk() -> None:
    """Observed during the hold: it begins at its first step, however long the answer took."""
    schedule = schedule_with(ramp(1))
    played(schedule, 205.0)
    schedule.offer(ramp(2, t0_ms=280.0, start=4.0), at_ms(310.0))
    assert played(schedule, 310.0) == pytest.approx(4.0)
    assert played(schedule, 360.0) == pytest.approx(5.0)


def test_a_chunk_observed_before_the_hold_goes_on_where_the_robot_stopped() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 230.0)
    schedule.offer(ramp(2, t0_ms=150.0, start=3.0), at_ms(240.0))
    assert played(schedule, 240.0) == pytest.approx(4.0)  # 50 ms of it were moved, 40 held
    assert played(schedule, 290.0) == pytest.approx(5.0)


def test_a_robot_that_never_moved_begins_at_the_first_step() -> None:
    schedule = empty()
    schedule.assume_at_rest(0)
    assert_allclose(schedule.entry(schedule.plan(ramp(), at_ms(130.0)), at_ms(130.0)), [0.0])
    schedule.offer(ramp(), at_ms(130.0))
    assert [played(schedule, ms) for ms in (130.0, 180.0)] == pytest.approx([0.0, 1.0])


def test_hold_stays_at_the_place_of_the_instant() -> None:
    schedule = schedule_with(ramp())
    played(schedule, 70.0)
    schedule.rest(at_ms(70.0))
    assert not schedule.is_playing
    assert [played(schedule, ms) for ms in (110.0, 900.0)] == pytest.approx([1.4, 1.4])


def test_hold_may_stay_elsewhere() -> None:
    schedule = schedule_with(ramp())
    schedule.rest(at_ms(70.0), np.array([9.0]))
    assert played(schedule, 80.0) == 9.0


def test_hold_before_anything_was_offered_makes_no_path() -> None:
    schedule = empty()
    schedule.rest(T0_NS)
    assert schedule.path(T0_NS) is None


# Blending


def test_replace_takes_over_at_once() -> None:
    schedule = schedule_with(ramp(1))
    schedule.offer(ramp(2, t0_ms=50.0, start=100.0), at_ms(70.0))
    assert schedule.progress(at_ms(75.0)).chunk_id == 2
    assert played(schedule, 75.0) == pytest.approx(100.5)
    assert schedule.chunk_jump == pytest.approx(100.4 - 1.4)


@pytest.mark.parametrize("blend", [BlendMode.OFFSET_FADE, BlendMode.RTC])
def test_an_offset_blend_keeps_place_and_speed_and_ends_on_the_new_chunk(blend: BlendMode) -> None:
    schedule = empty(blend, blend_s=0.1)
    schedule.offer(ramp(1, horizon=20), T0_NS)
    before = played(schedule, 70.0)
    old_speed = (played(schedule, 70.0) - played(schedule, 69.0)) / 0.001
    schedule.offer(ramp(2, t0_ms=50.0, start=9.0, slope=-2.0, horizon=20), at_ms(70.0))
    assert played(schedule, 70.0) == pytest.approx(before)
    new_speed = (played(schedule, 70.1) - played(schedule, 70.0)) / 0.0001
    assert new_speed == pytest.approx(old_speed, rel=0.02)
    assert played(schedule, 170.0) == pytest.approx(9.0 - 2.0 * 2.4)
    assert schedule.chunk_jump == pytest.approx(9.0 - 2.0 * 0.4 - 1.4)


def test_halfway_through_the_fade_half_of_the_offset_is_left() -> None:
    schedule = empty(BlendMode.OFFSET_FADE, blend_s=0.1)
    schedule.offer(ramp(1, slope=0.0, horizon=20), T0_NS)
    schedule.offer(ramp(2, start=4.0, slope=0.0, horizon=20), T0_NS)
    assert [played(schedule, ms) for ms in (0, 50, 100)] == pytest.approx([0.0, 2.0, 4.0])


def test_without_time_to_fade_the_new_chunk_is_played_as_it_is() -> None:
    schedule = empty(BlendMode.OFFSET_FADE, blend_s=0.0)
    schedule.offer(ramp(1), T0_NS)
    schedule.offer(ramp(2, start=9.0), at_ms(10.0))
    assert played(schedule, 10.0) == pytest.approx(9.2)


def test_the_offset_from_a_hold_is_faded_too() -> None:
    schedule = schedule_with(ramp(1), blend=BlendMode.OFFSET_FADE)
    played(schedule, 300.0)
    schedule.offer(ramp(2, t0_ms=300.0, start=4.5, slope=0.0, horizon=20), at_ms(320.0))
    assert played(schedule, 320.0) == pytest.approx(4.0)
    assert played(schedule, 520.0) == pytest.approx(4.5)


def test_ensemble_is_the_mean_that_act_weighs_by_age() -> None:
    schedule = empty(BlendMode.ENSEMBLE, ensemble_decay=0.5)
    for number in range(3):
        chunk = ramp(number + 1, t0_ms=number, start=float(number), slope=0.0, horizon=9)
        schedule.offer(chunk, at_ms(10.0 + number))
    weights = np.exp(-0.5 * np.arange(3))  # the oldest weighs most
    assert played(schedule, 20.0) == pytest.approx(weights @ np.arange(3) / weights.sum())


def test_ensemble_drops_chunks_that_have_ended() -> None:
    schedule = empty(BlendMode.ENSEMBLE)
    schedule.offer(ramp(1, slope=0.0), T0_NS)
    schedule.offer(ramp(2, t0_ms=100.0, start=5.0, slope=0.0), at_ms(110.0))
    assert 0.0 < played(schedule, 150.0) < 5.0
    assert played(schedule, 210.0) == 5.0


# Clocks


def test_after_the_clock_was_set_back_the_place_is_held_until_a_new_chunk() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    assert schedule.advance(at_ms(-60_000.0)) == 60_100_000_000
    assert [played(schedule, ms) for ms in (-60_000.0, -59_990.0)] == pytest.approx([2.0, 2.0])
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert played(schedule, -59_950.0) == pytest.approx(0.0)  # it held since before t0


def test_a_chunk_that_comes_first_after_the_clock_was_set_back_is_taken() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert schedule.progress(at_ms(-59_950.0)).chunk_id == 2


def test_a_clock_that_trembles_does_not_end_the_chunk() -> None:
    schedule = schedule_with(ramp(1))
    assert_allclose([played(schedule, ms) for ms in (100.0, 99.0, 101.0)], [2.0, 1.98, 2.02])


def test_a_stall_moves_what_is_played_and_the_place_stays() -> None:
    schedule = schedule_with(ramp(1, horizon=40))
    place = played(schedule, 100.0)
    schedule.delay(at_ms(1100.0), 1_000_000_000)
    assert played(schedule, 1100.0) == pytest.approx(place)
    assert played(schedule, 1150.0) == pytest.approx(place + 1.0)


def test_a_chunk_observed_before_a_stall_does_not_skip_what_the_robot_stood() -> None:
    """Observed 50 ms before a stall of 1 s, it comes 20 ms after it: 70 ms have passed for it."""
    schedule = schedule_with(ramp(1, horizon=40))
    played(schedule, 100.0)
    schedule.delay(at_ms(1100.0), 1_000_000_000)
    schedule.offer(ramp(2, t0_ms=50.0, start=100.0, horizon=40), at_ms(1120.0))
    assert played(schedule, 1120.0) == pytest.approx(100.0 + 70.0 / 50.0)


def test_a_stall_moves_the_fade_too() -> None:
    schedule = schedule_with(ramp(1, horizon=40), blend=BlendMode.OFFSET_FADE)
    played(schedule, 100.0)
    schedule.offer(ramp(2, t0_ms=100.0, start=9.0, horizon=40), at_ms(100.0))
    place = played(schedule, 150.0)
    schedule.delay(at_ms(650.0), 500_000_000)
    assert played(schedule, 650.0) == pytest.approx(place)
