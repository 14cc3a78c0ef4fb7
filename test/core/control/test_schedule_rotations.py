# SPDX-License-Identifier: Apache-2.0
"""Rotations over time turn on the sphere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from schedule_ramps import DT_S, T0_NS, at_ms

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.schedule import ChunkSchedule
from gr00t_policy_core.control.schedule_settings import ScheduleSettings


def pose(angle_rad: float) -> list[float]:
    """A pose turned about z."""
    return [0.1, 0.2, 0.3, 0.0, 0.0, np.sin(angle_rad / 2), np.cos(angle_rad / 2)]


def angle_of(place: np.ndarray) -> float:
    return float(2.0 * np.arctan2(place[5], place[6]))


def pose_schedule(blend: BlendMode, *angles_rad: float, cubic: bool = False) -> ChunkSchedule:
    settings = ScheduleSettings(blend, blend_s=0.2, cubic=cubic)
    schedule = ChunkSchedule(ActionLayout({"hand": 7}, poses=["hand"]), settings)
    schedule.offer(pose_chunk(1, *angles_rad), T0_NS)
    return schedule


def pose_chunk(chunk_id: int, *angles_rad: float) -> Chunk:
    return Chunk(chunk_id, T0_NS, DT_S, {"hand": np.array([pose(a) for a in angles_rad])})


@pytest.mark.parametrize("cubic", [False, True])
def test_rotations_turn_at_an_even_rate_on_the_sphere(cubic: bool) -> None:
    schedule = pose_schedule(BlendMode.REPLACE, 0.0, 2.0, 4.0, cubic=cubic)
    places = [schedule.path(at_ms(ms)) for ms in (0.0, 12.5, 25.0, 75.0)]
    assert [angle_of(p) for p in places if p is not None] == pytest.approx([0.0, 0.5, 1.0, 3.0])
    assert_allclose([np.linalg.norm(p[3:]) for p in places if p is not None], 1.0)


def test_the_offset_of_a_rotation_is_faded_by_turning() -> None:
    schedule = pose_schedule(BlendMode.OFFSET_FADE, *[0.0] * 9)
    schedule.offer(pose_chunk(2, *[1.0] * 9), T0_NS)
    angles = [angle_of(np.array(schedule.path(at_ms(ms)))) for ms in (0, 50, 100, 200)]
    assert angles == pytest.approx([0.0, 0.103515625, 0.5, 1.0])


def test_a_chunk_half_a_turn_away_does_not_spin_the_hand() -> None:
    """The shorter way round flips while the old chunk turns past the opposite side."""
    schedule = pose_schedule(BlendMode.OFFSET_FADE, *np.linspace(0.0, 0.4, 9))
    there = np.pi + 0.2 * 0.001 / 0.4
    schedule.offer(pose_chunk(2, *[there] * 9), T0_NS)
    places = np.array([schedule.path(at_ms(ms)) for ms in range(300)])
    turns = 2.0 * np.arccos(np.clip(np.abs(np.sum(places[1:, 3:] * places[:-1, 3:], axis=1)), 0, 1))
    assert turns.max() < 1.95 * np.pi / 200.0  # rad a ms: at most 1.875 times an even turn
