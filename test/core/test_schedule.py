# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: every instant has its command, and what must not move the robot does not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core.control.schedule import Chunk, ChunkRefusedError, ChunkSchedule

MS_NS = 1_000_000
T0_NS = 1_700_000_000_000_000_000  # a wall clock's size: float64 seconds would lose 240 ns of it
DT_S = 0.05


def ramp(
    chunk_id: int = 1,
    *,
    t0_ms: float = 0.0,
    start: float = 0.0,
    slope: float = 1.0,
    horizon: int = 5,
    keys: tuple[str, ...] = ("arm",),
) -> Chunk:
    """Climbs by `slope` a step, so that the commanded value tells the step being played."""
    values = start + slope * np.arange(horizon, dtype=np.float64)[:, None]
    return Chunk(chunk_id, T0_NS + round(t0_ms * MS_NS), DT_S, dict.fromkeys(keys, values))


def at_ms(ms: float) -> int:
    return T0_NS + round(ms * MS_NS)


def played(schedule: ChunkSchedule, ms: float) -> float:
    command = schedule.command(at_ms(ms))
    assert command is not None
    return float(command.values["arm"][0])


def schedule_with(chunk: Chunk, *, now_ms: float = 0.0) -> ChunkSchedule:
    schedule = ChunkSchedule()
    schedule.offer(chunk, at_ms(now_ms))
    return schedule


def test_nothing_is_commanded_before_the_first_chunk() -> None:
    assert ChunkSchedule().command(T0_NS) is None


def test_the_value_is_that_of_the_instant() -> None:
    schedule = schedule_with(ramp())
    instants_ms = [0.0, 10.0, 25.0, 50.0, 51.0, 149.9, 199.0]
    assert_allclose([played(schedule, ms) for ms in instants_ms], np.array(instants_ms) / 50.0)


def test_a_late_chunk_starts_at_the_step_of_now_not_at_its_first() -> None:
    schedule = schedule_with(ramp(), now_ms=130.0)
    assert played(schedule, 130.0) == pytest.approx(2.6)


def test_the_newest_chunk_takes_over_at_once() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 60.0)
    schedule.offer(ramp(2, t0_ms=50.0, start=100.0), at_ms(70.0))
    command = schedule.command(at_ms(75.0))
    assert command is not None
    assert command.chunk_id == 2
    assert command.values["arm"][0] == pytest.approx(100.5)


def test_the_last_step_itself_is_reached_and_then_held() -> None:
    schedule = schedule_with(ramp())
    values = [played(schedule, ms) for ms in (195.0, 205.0, 215.0, 9000.0)]
    assert_allclose(values, [3.9, 4.0, 4.0, 4.0])


def test_holding_is_said_and_names_the_chunk() -> None:
    schedule = schedule_with(ramp(7))
    playing, last, held = (schedule.command(at_ms(ms)) for ms in (100.0, 230.0, 240.0))
    assert playing is not None
    assert last is not None
    assert held is not None
    assert (playing.holding, playing.steps_left) == (False, 2)
    assert (last.holding, last.steps_left) == (False, 0)
    assert (held.holding, held.steps_left, held.chunk_id) == (True, 0, 7)


def test_a_chunk_ends_the_hold() -> None:
    schedule = schedule_with(ramp(1))
    for ms in (205.0, 300.0):
        schedule.command(at_ms(ms))
    schedule.offer(ramp(2, t0_ms=280.0), at_ms(310.0))
    command = schedule.command(at_ms(310.0))
    assert command is not None
    assert not command.holding
    assert command.values["arm"][0] == pytest.approx(0.6)


def test_a_chunk_of_one_step_is_a_position_to_hold() -> None:
    schedule = schedule_with(ramp(horizon=1, start=2.0))
    assert [played(schedule, ms) for ms in (0.0, 10.0)] == [2.0, 2.0]


def test_hold_stops_at_the_last_position_commanded() -> None:
    schedule = schedule_with(ramp())
    played(schedule, 70.0)
    schedule.hold()
    command = schedule.command(at_ms(110.0))
    assert command is not None
    assert command.holding
    assert command.values["arm"][0] == pytest.approx(1.4)


def test_hold_before_anything_was_played_commands_nothing() -> None:
    schedule = schedule_with(ramp())
    schedule.hold()
    assert schedule.command(at_ms(10.0)) is None


def test_clear_forgets_the_position_too() -> None:
    schedule = schedule_with(ramp())
    played(schedule, 70.0)
    schedule.clear()
    assert schedule.command(at_ms(80.0)) is None


def test_a_chunk_that_starts_shortly_ahead_waits_at_its_first_step() -> None:
    schedule = schedule_with(ramp(t0_ms=30.0, start=5.0))
    assert [played(schedule, ms) for ms in (0.0, 29.0)] == [5.0, 5.0]


def test_all_keys_are_played_alike() -> None:
    command = schedule_with(ramp(keys=("arm", "gripper"))).command(at_ms(25.0))
    assert command is not None
    assert_allclose([command.values["arm"], command.values["gripper"]], [[0.5], [0.5]])


@pytest.mark.parametrize(
    ("chunk", "now_ms", "reason"),
    [
        (ramp(2), 201.0, r"chunk 2 came 0\.001 s after its last step"),
        (ramp(2, t0_ms=1500.0), 100.0, r"chunk 2 starts 1\.400 s in the future: clocks differ"),
        (ramp(2, t0_ms=-10.0), 100.0, "chunk 2 is older than chunk 1, being played"),
        (ramp(2, keys=("arm", "gripper")), 100.0, "the chunks before had {'arm': 1}"),
        (ramp(2, keys=("leg",)), 100.0, "has keys and dimensions {'leg': 1}"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_and_the_old_one_plays_on(
    chunk: Chunk, now_ms: float, reason: str
) -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 90.0)
    with pytest.raises(ChunkRefusedError, match=reason):
        schedule.offer(chunk, at_ms(now_ms))
    assert played(schedule, 150.0) == pytest.approx(3.0)


def test_a_chunk_of_the_very_observation_being_played_replaces_it() -> None:
    schedule = schedule_with(ramp(1))
    schedule.offer(ramp(2, start=100.0), at_ms(10.0))
    assert played(schedule, 10.0) == pytest.approx(100.2)


def test_after_the_clock_was_set_back_the_position_is_held_until_a_new_chunk() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    back = schedule.command(at_ms(-60_000.0))
    assert back is not None
    assert back.holding
    assert back.values["arm"][0] == pytest.approx(2.0)
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert played(schedule, -59_950.0) == pytest.approx(1.0)


def test_a_chunk_that_comes_first_after_the_clock_was_set_back_is_taken() -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 100.0)
    schedule.offer(ramp(2, t0_ms=-60_000.0), at_ms(-59_950.0))
    assert played(schedule, -59_950.0) == pytest.approx(1.0)


def test_a_clock_that_trembles_does_not_end_the_chunk() -> None:
    schedule = schedule_with(ramp(1))
    assert_allclose([played(schedule, ms) for ms in (100.0, 99.0, 101.0)], [2.0, 1.98, 2.02])


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
