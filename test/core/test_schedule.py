# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: every instant has its place, and what must not move the robot does not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.layout import Layout
from gr00t_policy_core.control.schedule import ChunkSchedule, Progress, ScheduleSettings, Seam

MS_NS = 1_000_000
T0_NS = 1_700_000_000_000_000_000  # a wall clock's size: float64 seconds would lose 240 ns of it
DT_S = 0.05
END_MS = 200.0  # of a ramp of five steps


def ramp(
    chunk_id: int = 1,
    *,
    t0_ms: float = 0.0,
    start: float = 0.0,
    slope: float = 1.0,
    horizon: int = 5,
    keys: tuple[str, ...] = ("arm",),
) -> Chunk:
    """Climbs by `slope` a step, so that a place tells the step being played."""
    values = start + slope * np.arange(horizon, dtype=np.float64)[:, None]
    return Chunk(chunk_id, T0_NS + round(t0_ms * MS_NS), DT_S, dict.fromkeys(keys, values))


def at_ms(ms: float) -> int:
    return T0_NS + round(ms * MS_NS)


def empty(
    seam: Seam = Seam.REPLACE, *, fade_s: float = 0.2, cubic: bool = False, **settings: float
) -> ChunkSchedule:
    how = ScheduleSettings(seam, fade_s=fade_s, cubic=cubic, **settings)
    return ChunkSchedule(Layout({"arm": 1}), how)


def schedule_with(chunk: Chunk, *, now_ms: float = 0.0, seam: Seam = Seam.REPLACE) -> ChunkSchedule:
    schedule = empty(seam)
    schedule.offer(chunk, at_ms(now_ms))
    return schedule


def played(schedule: ChunkSchedule, ms: float) -> float:
    schedule.advance(at_ms(ms))
    place = schedule.path(at_ms(ms))
    assert place is not None
    return float(place[0])


# One chunk


def test_there_is_no_path_before_the_first_chunk() -> None:
    schedule = empty()
    schedule.advance(T0_NS)
    assert schedule.path(T0_NS) is None
    assert not schedule.is_playing
    assert schedule.progress(T0_NS) == Progress()


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
    assert schedule.interruption == ""


def test_progress_counts_the_steps_that_lie_ahead() -> None:
    schedule = schedule_with(ramp(7))
    left = []
    for ms in (0.0, 10.0, 100.0, 199.0):
        schedule.advance(at_ms(ms))
        left.append(schedule.progress(at_ms(ms)))
    assert [p.steps_left for p in left] == [4, 4, 2, 1]
    assert {(p.chunk_id, p.observed_ns) for p in left} == {(7, T0_NS)}
    schedule.advance(at_ms(END_MS))
    assert schedule.progress(at_ms(END_MS)) == Progress()


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


def test_keys_lie_side_by_side_in_the_order_of_the_layout() -> None:
    schedule = ChunkSchedule(Layout({"gripper": 1, "arm": 2}))
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
    schedule.rest(0)
    assert_allclose(schedule.entry(ramp(), at_ms(130.0)), [0.0])
    schedule.offer(ramp(), at_ms(130.0))
    assert [played(schedule, ms) for ms in (130.0, 180.0)] == pytest.approx([0.0, 1.0])


def test_hold_stays_at_the_place_of_the_instant() -> None:
    schedule = schedule_with(ramp())
    played(schedule, 70.0)
    schedule.hold(at_ms(70.0))
    assert not schedule.is_playing
    assert [played(schedule, ms) for ms in (110.0, 900.0)] == pytest.approx([1.4, 1.4])


def test_hold_may_stay_elsewhere() -> None:
    schedule = schedule_with(ramp())
    schedule.hold(at_ms(70.0), np.array([9.0]))
    assert played(schedule, 80.0) == 9.0


def test_hold_before_anything_was_offered_makes_no_path() -> None:
    schedule = empty()
    schedule.hold(T0_NS)
    assert schedule.path(T0_NS) is None


# Seams


def test_replace_takes_over_at_once() -> None:
    schedule = schedule_with(ramp(1))
    schedule.offer(ramp(2, t0_ms=50.0, start=100.0), at_ms(70.0))
    assert schedule.progress(at_ms(75.0)).chunk_id == 2
    assert played(schedule, 75.0) == pytest.approx(100.5)
    assert schedule.last_seam_jump == pytest.approx(100.4 - 1.4)


@pytest.mark.parametrize("seam", [Seam.OFFSET_FADE, Seam.RTC])
def test_a_faded_seam_keeps_place_and_speed_and_ends_on_the_new_chunk(seam: Seam) -> None:
    schedule = empty(seam, fade_s=0.1)
    schedule.offer(ramp(1, horizon=20), T0_NS)
    before = played(schedule, 70.0)
    old_speed = (played(schedule, 70.0) - played(schedule, 69.0)) / 0.001
    schedule.offer(ramp(2, t0_ms=50.0, start=9.0, slope=-2.0, horizon=20), at_ms(70.0))
    assert played(schedule, 70.0) == pytest.approx(before)
    new_speed = (played(schedule, 70.1) - played(schedule, 70.0)) / 0.0001
    assert new_speed == pytest.approx(old_speed, rel=0.02)
    assert played(schedule, 170.0) == pytest.approx(9.0 - 2.0 * 2.4)
    assert schedule.last_seam_jump == pytest.approx(9.0 - 2.0 * 0.4 - 1.4)


def test_halfway_through_the_fade_half_of_the_offset_is_left() -> None:
    schedule = empty(Seam.OFFSET_FADE, fade_s=0.1)
    schedule.offer(ramp(1, slope=0.0, horizon=20), T0_NS)
    schedule.offer(ramp(2, start=4.0, slope=0.0, horizon=20), T0_NS)
    assert [played(schedule, ms) for ms in (0, 50, 100)] == pytest.approx([0.0, 2.0, 4.0])


def test_without_time_to_fade_the_new_chunk_is_played_as_it_is() -> None:
    schedule = empty(Seam.OFFSET_FADE, fade_s=0.0)
    schedule.offer(ramp(1), T0_NS)
    schedule.offer(ramp(2, start=9.0), at_ms(10.0))
    assert played(schedule, 10.0) == pytest.approx(9.2)


def test_the_offset_from_a_hold_is_faded_too() -> None:
    schedule = schedule_with(ramp(1), seam=Seam.OFFSET_FADE)
    played(schedule, 300.0)
    schedule.offer(ramp(2, t0_ms=300.0, start=4.5, slope=0.0, horizon=20), at_ms(320.0))
    assert played(schedule, 320.0) == pytest.approx(4.0)
    assert played(schedule, 520.0) == pytest.approx(4.5)


def test_ensemble_is_the_mean_that_act_weighs_by_age() -> None:
    schedule = empty(Seam.ENSEMBLE, ensemble_decay=0.5)
    for number in range(3):
        chunk = ramp(number + 1, t0_ms=number, start=float(number), slope=0.0, horizon=9)
        schedule.offer(chunk, at_ms(10.0 + number))
    weights = np.exp(-0.5 * np.arange(3))  # the oldest weighs most
    assert played(schedule, 20.0) == pytest.approx(weights @ np.arange(3) / weights.sum())


def test_ensemble_drops_chunks_that_have_ended() -> None:
    schedule = empty(Seam.ENSEMBLE)
    schedule.offer(ramp(1, slope=0.0), T0_NS)
    schedule.offer(ramp(2, t0_ms=100.0, start=5.0, slope=0.0), at_ms(110.0))
    assert 0.0 < played(schedule, 150.0) < 5.0
    assert played(schedule, 210.0) == 5.0


# Rotations


def pose(angle_rad: float) -> list[float]:
    """A pose turned about z."""
    return [0.1, 0.2, 0.3, 0.0, 0.0, np.sin(angle_rad / 2), np.cos(angle_rad / 2)]


def angle_of(place: np.ndarray) -> float:
    return float(2.0 * np.arctan2(place[5], place[6]))


def pose_schedule(seam: Seam, *angles_rad: float, cubic: bool = False) -> ChunkSchedule:
    settings = ScheduleSettings(seam, fade_s=0.2, cubic=cubic)
    schedule = ChunkSchedule(Layout({"hand": 7}, poses=["hand"]), settings)
    schedule.offer(pose_chunk(1, *angles_rad), T0_NS)
    return schedule


def pose_chunk(chunk_id: int, *angles_rad: float) -> Chunk:
    return Chunk(chunk_id, T0_NS, DT_S, {"hand": np.array([pose(a) for a in angles_rad])})


@pytest.mark.parametrize("cubic", [False, True])
def test_rotations_turn_at_an_even_rate_on_the_sphere(cubic: bool) -> None:
    schedule = pose_schedule(Seam.REPLACE, 0.0, 2.0, 4.0, cubic=cubic)
    places = [schedule.path(at_ms(ms)) for ms in (0.0, 12.5, 25.0, 75.0)]
    assert [angle_of(p) for p in places if p is not None] == pytest.approx([0.0, 0.5, 1.0, 3.0])
    assert_allclose([np.linalg.norm(p[3:]) for p in places if p is not None], 1.0)


def test_the_offset_of_a_rotation_is_faded_by_turning() -> None:
    schedule = pose_schedule(Seam.OFFSET_FADE, *[0.0] * 9)
    schedule.offer(pose_chunk(2, *[1.0] * 9), T0_NS)
    angles = [angle_of(np.array(schedule.path(at_ms(ms)))) for ms in (0, 50, 100, 200)]
    assert angles == pytest.approx([0.0, 0.103515625, 0.5, 1.0])


def test_a_chunk_half_a_turn_away_does_not_spin_the_hand() -> None:
    """The shorter way round flips while the old chunk turns past the opposite side."""
    schedule = pose_schedule(Seam.OFFSET_FADE, *np.linspace(0.0, 0.4, 9))
    there = np.pi + 0.2 * 0.001 / 0.4
    schedule.offer(pose_chunk(2, *[there] * 9), T0_NS)
    places = np.array([schedule.path(at_ms(ms)) for ms in range(300)])
    turns = 2.0 * np.arccos(np.clip(np.abs(np.sum(places[1:, 3:] * places[:-1, 3:], axis=1)), 0, 1))
    assert turns.max() < 1.95 * np.pi / 200.0  # rad a ms: at most 1.875 times an even turn


# Refusing


@pytest.mark.parametrize(
    ("chunk", "now_ms", "reason"),
    [
        (ramp(2), 201.0, r"chunk 2 came 0\.201 s after .* no step is left of its 0\.200 s"),
        (ramp(2, t0_ms=1500.0), 100.0, r"chunk 2 starts 1\.400 s in the future: clocks differ"),
        (ramp(2, t0_ms=-10.0), 100.0, "chunk 2 is of an older observation than the one before"),
        (ramp(2, keys=("arm", "gripper")), 100.0, "expected {'arm': 1}"),
        (ramp(2, keys=("leg",)), 100.0, "has keys and dimensions {'leg': 1}"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_and_the_old_one_plays_on(
    chunk: Chunk, now_ms: float, reason: str
) -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 90.0)
    for ask in (schedule.entry, schedule.offer):
        with pytest.raises(ChunkRefusedError, match=reason):
            ask(chunk, at_ms(now_ms))
    assert played(schedule, 150.0) == pytest.approx(3.0 if now_ms < END_MS else 4.0)


def test_a_chunk_of_the_very_observation_being_played_replaces_it() -> None:
    schedule = schedule_with(ramp(1))
    schedule.offer(ramp(2, start=100.0), at_ms(10.0))
    assert played(schedule, 10.0) == pytest.approx(100.2)


def test_a_chunk_that_was_overtaken_is_refused_after_the_newer_one_has_ended_too() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 210.0)
    with pytest.raises(ChunkRefusedError, match="older observation"):
        schedule.offer(ramp(2, t0_ms=-20.0, horizon=40), at_ms(220.0))


def test_a_burst_of_late_chunks_leaves_the_newest_in_play() -> None:
    schedule = schedule_with(ramp(1, t0_ms=-600.0, horizon=40), now_ms=0.0)
    for number, t0_ms in enumerate((-400.0, -200.0, -300.0), start=2):
        try:
            schedule.offer(ramp(number, t0_ms=t0_ms, start=number * 100.0, horizon=40), at_ms(1.0))
        except ChunkRefusedError:
            assert number == 4
    assert schedule.progress(at_ms(1.0)).chunk_id == 3
    assert played(schedule, 1.0) == pytest.approx(300.0 + 201.0 / 50.0)


# Clocks


def test_after_the_clock_was_set_back_the_place_is_held_until_a_new_chunk() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    assert [played(schedule, ms) for ms in (-60_000.0, -59_990.0)] == pytest.approx([2.0, 2.0])
    assert schedule.interruption == "the clock was set back by 60.10 s"
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert played(schedule, -59_950.0) == pytest.approx(0.0)  # it held since before t0
    assert schedule.interruption == ""


def test_a_chunk_that_comes_first_after_the_clock_was_set_back_is_taken() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert schedule.progress(at_ms(-59_950.0)).chunk_id == 2


def test_a_clock_that_trembles_does_not_end_the_chunk() -> None:
    schedule = schedule_with(ramp(1))
    assert_allclose([played(schedule, ms) for ms in (100.0, 99.0, 101.0)], [2.0, 1.98, 2.02])


def test_a_clock_that_jumps_ahead_holds_where_the_robot_is_not_at_the_last_step() -> None:
    schedule = schedule_with(ramp(1, horizon=40))
    played(schedule, 100.0)
    assert played(schedule, 3_600_000.0) == pytest.approx(2.0)
    assert schedule.interruption == "time went on by 3599.90 s at once"


def test_a_stall_within_the_chunk_goes_on_at_the_step_of_now() -> None:
    schedule = schedule_with(ramp(1, horizon=40))
    played(schedule, 100.0)
    assert played(schedule, 1100.0) == pytest.approx(22.0)


# Chunks


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_chunk_with_a_value_that_is_not_finite_is_refused_whole(value: float) -> None:
    values = np.zeros((4, 2))
    values[2, 1] = value
    with pytest.raises(ChunkRefusedError, match="chunk 3, arm: a value of step 2 is not finite"):
        Chunk(3, T0_NS, DT_S, {"gripper": np.zeros((4, 1)), "arm": values})


@pytest.mark.parametrize("dt_s", [0.0, -0.05, np.nan, np.inf, 5e-324, 1e300])
def test_a_step_that_is_no_time_is_refused(dt_s: float) -> None:
    with pytest.raises(ChunkRefusedError, match="dt must be"):
        Chunk(3, T0_NS, dt_s, {"arm": np.zeros((4, 1))})


@pytest.mark.parametrize("shape", [(4,), (0, 2), (4, 0), (1, 4, 2)])
def test_a_shape_that_is_no_chunk_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ChunkRefusedError, match=r"expected \(horizon, D\)"):
        Chunk(3, T0_NS, DT_S, {"arm": np.zeros(shape)})


def test_keys_of_different_horizons_are_refused() -> None:
    with pytest.raises(ChunkRefusedError, match=r"horizons differ: {'arm': 4, 'gripper': 5}"):
        Chunk(3, T0_NS, DT_S, {"arm": np.zeros((4, 1)), "gripper": np.zeros((5, 1))})


def test_a_chunk_without_actions_is_refused() -> None:
    with pytest.raises(ChunkRefusedError, match="has no action"):
        Chunk(3, T0_NS, DT_S, {})
