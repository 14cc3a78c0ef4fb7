# SPDX-License-Identifier: Apache-2.0
"""Whatever the chunks and the ticks: properties of the path that the schedule makes of them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from motion_strategies import DT_S, MS_NS, SETTINGS, T0_NS, reals  # noqa: E402

from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.blend import BlendMode  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError  # noqa: E402
from gr00t_policy_core.control.schedule import ChunkSchedule  # noqa: E402
from gr00t_policy_core.control.schedule_settings import ScheduleSettings  # noqa: E402


@st.composite
def chunk_lists(draw: Any) -> list[tuple[Chunk, int]]:
    """Chunks with the instants (ns) at which they come: late, in bursts, out of order."""
    count = draw(st.integers(1, 6))
    now_ms = 0
    offers = []
    for number in range(1, count + 1):
        now_ms += draw(st.integers(0, 400))
        late_ms = draw(st.integers(-20, 500))
        horizon = draw(st.integers(1, 20))
        values = draw(st.lists(reals(-2.0, 2.0), min_size=horizon, max_size=horizon))
        t0_ns = T0_NS + (now_ms - late_ms) * MS_NS
        chunk = Chunk(number, t0_ns, DT_S, {"arm": np.array(values)[:, None]})
        offers.append((chunk, T0_NS + now_ms * MS_NS))
    return offers


SCHEDULES = st.builds(
    ScheduleSettings, blend=st.sampled_from(BlendMode), blend_s=reals(0.0, 0.5), cubic=st.booleans()
)


def play(
    schedule: ChunkSchedule, offers: list[tuple[Chunk, int]], sampled_ns: list[int], tick_ns: int
) -> dict[int, float]:
    """The path at some instants, with the schedule looked at in ticks beside them."""
    last_ns = max([*sampled_ns, *(now_ns for _, now_ns in offers)])
    ticks = range(T0_NS, last_ns, tick_ns)
    events = [(now_ns, 0, chunk) for chunk, now_ns in offers]
    events += [(now_ns, 1, None) for now_ns in {*sampled_ns, *ticks}]
    places = {}
    for now_ns, _, chunk in sorted(events, key=lambda event: event[:2]):
        if chunk is not None:
            with contextlib.suppress(ChunkRefusedError):
                schedule.offer(chunk, now_ns)
            continue
        schedule.advance(now_ns)
        place = schedule.path(now_ns)
        if place is not None and now_ns in sampled_ns:
            places[now_ns] = float(place[0])
    return places


@SETTINGS
@given(SCHEDULES, chunk_lists(), st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_the_path_is_a_function_of_time_whatever_the_ticks(
    how: ScheduleSettings, offers: list[tuple[Chunk, int]], sampled_ms: list[int]
) -> None:
    sampled_ns = [T0_NS + ms * MS_NS for ms in sampled_ms]
    layout = ActionLayout({"arm": 1})
    runs = [
        play(ChunkSchedule(layout, how), offers, sampled_ns, tick_ms * MS_NS)
        for tick_ms in (7, 10, 100)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert np.isfinite(list(runs[0].values())).all()


@SETTINGS
@given(chunk_lists(), st.booleans(), reals(0.05, 0.5))
def test_offset_blends_are_continuous(
    offers: list[tuple[Chunk, int]], cubic: bool, blend_s: float
) -> None:
    """Just before and just after a chunk the place is the same."""
    schedule = ChunkSchedule(
        ActionLayout({"arm": 1}), ScheduleSettings(blend_s=blend_s, cubic=cubic)
    )
    for chunk, now_ns in offers:
        schedule.advance(now_ns)
        before = schedule.path(now_ns)
        with contextlib.suppress(ChunkRefusedError):
            schedule.offer(chunk, now_ns)
        after = schedule.path(now_ns)
        if before is not None:
            assert_allclose(after, before, rtol=0.0, atol=1e-12)


@SETTINGS
@given(chunk_lists())
def test_no_step_from_the_future_and_none_from_the_stale_past_is_played(
    offers: list[tuple[Chunk, int]],
) -> None:
    """Each value is its own step's number and chunk, so that the path tells what is played."""
    schedule = ChunkSchedule(ActionLayout({"arm": 2}), ScheduleSettings(BlendMode.REPLACE))
    end_ns = offers[-1][1] + 2_000_000_000
    pending = [
        (Chunk(c.chunk_id, c.t0_ns, DT_S, {"arm": _numbered(c)}), now_ns) for c, now_ns in offers
    ]
    accepted: dict[int, Chunk] = {}
    for now_ns in range(T0_NS, end_ns, 10 * MS_NS):
        while pending and pending[0][1] <= now_ns:
            chunk, _ = pending.pop(0)
            with contextlib.suppress(ChunkRefusedError):
                schedule.offer(chunk, now_ns)
                accepted[chunk.chunk_id] = chunk
        schedule.advance(now_ns)
        place = schedule.path(now_ns)
        if place is None or not schedule.is_playing:
            continue
        step, number = float(place[0]), round(place[1])
        chunk = accepted[number]
        assert number == max(accepted)  # the newest that was welcome, and no other
        due = (now_ns - chunk.t0_ns) * 1e-9 / DT_S
        assert step <= max(due, 0.0) + 1e-6  # not from the future
        assert schedule.progress(now_ns).chunk_id == number
        assert now_ns <= chunk.end_ns + round(3e9)
    assert not schedule.is_playing


def _numbered(chunk: Chunk) -> np.ndarray:
    steps = np.arange(chunk.horizon, dtype=np.float64)
    return np.stack([steps, np.full(chunk.horizon, float(chunk.chunk_id))], axis=1)
