# SPDX-License-Identifier: Apache-2.0
"""What must not move the robot does not: chunks that do not fit, and those that are none."""

from __future__ import annotations

import numpy as np
import pytest
from schedule_ramps import DT_S, END_MS, T0_NS, at_ms, played, ramp, schedule_with

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError

# Refusing


@pytest.mark.parametrize(
    ("chunk", "now_ms", "reason"),
    [
        (ramp(2), 201.0, r"chunk 2 came 0\.201 s after .* no step is left of its 0\.200 s"),
        (
            ramp(2, t0_ms=-10.0),
            100.0,
            "chunk 2 comes from an older observation than the chunk before it",
        ),
        (ramp(2, keys=("arm", "gripper")), 100.0, "expected {'arm': 1}"),
        (ramp(2, keys=("leg",)), 100.0, "has keys and dimensions {'leg': 1}"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_and_the_old_one_plays_on(
    chunk: Chunk, now_ms: float, reason: str
) -> None:
    schedule = schedule_with(ramp(1))
    played(schedule, 90.0)
    for ask in (schedule.plan, schedule.offer):
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


# Chunks


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_chunk_with_a_value_that_is_not_finite_is_refused_whole(value: float) -> None:
    values = np.zeros((4, 2))
    values[2, 1] = value
    with pytest.raises(ChunkRefusedError, match="chunk 3, arm: a value of step 2 is not finite"):
        Chunk(3, T0_NS, DT_S, {"gripper": np.zeros((4, 1)), "arm": values})


@pytest.mark.parametrize("value", [1e306, -1.7e308])
def test_a_value_that_no_arithmetic_can_hold_is_refused_whole(value: float) -> None:
    values = np.zeros((4, 2))
    values[2, 1] = value
    with pytest.raises(ChunkRefusedError, match=r"chunk 3, arm: a value of step 2 is .*e\+30"):
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
