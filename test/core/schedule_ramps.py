# SPDX-License-Identifier: Apache-2.0
"""Chunks that climb, and what a schedule makes of them."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.schedule_settings import ScheduleSettings

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
    blend: BlendMode = BlendMode.REPLACE,
    *,
    blend_s: float = 0.2,
    cubic: bool = False,
    **settings: float,
) -> ChunkSchedule:
    how = ScheduleSettings(blend, blend_s=blend_s, cubic=cubic, **settings)
    return ChunkSchedule(ActionLayout({"arm": 1}), how)


def schedule_with(
    chunk: Chunk, *, now_ms: float = 0.0, blend: BlendMode = BlendMode.REPLACE
) -> ChunkSchedule:
    schedule = empty(blend)
    schedule.offer(chunk, at_ms(now_ms))
    return schedule


def played(schedule: ChunkSchedule, ms: float) -> float:
    schedule.advance(at_ms(ms))
    place = schedule.path(at_ms(ms))
    assert place is not None
    return float(place[0])
