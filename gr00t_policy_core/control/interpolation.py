# SPDX-License-Identifier: Apache-2.0
"""The path of a chunk between its steps."""

from __future__ import annotations

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row


def interpolate_steps(layout: ActionLayout, rows: Row, position: float, *, cubic: bool) -> Row:
    """The vector at a place between two steps, float64 (size,).

    Args:
        layout: Says which values are rotations: they turn at an even rate on the sphere.
        rows: The steps, float64 (horizon, size).
        position: The place, in steps, from 0 to the last.
        cubic: Along cubics (Catmull-Rom) instead of straight lines.
    """
    step = min(int(position), len(rows) - 1)
    share = position - step
    if not share:
        return np.array(rows[step])
    straight = layout.interpolate(rows[step], rows[step + 1], share)
    if not cubic:
        return straight
    vector = _catmull_rom(rows, step, share)
    for part in layout.rotations:
        vector[part] = straight[part]
    return vector


def _catmull_rom(rows: Row, step: int, share: float) -> Row:
    """The cubic from a step to the next with the slopes of their neighbours (Catmull & Rom 1974).

    At the ends of the chunk the slopes are one-sided. Beside two equal steps the slope is zero, as
    no cubic without it keeps between its steps (Fritsch & Carlson 1980): what stands does not
    swing back before it departs, nor beyond its target when it arrives there.
    """
    start, end = rows[step], rows[step + 1]
    slope_in = slope_out = end - start
    if step > 0:
        slope_in = _slope(rows[step - 1], start, end)
    if step + 2 < len(rows):
        slope_out = _slope(start, end, rows[step + 2])
    s2, s3 = share * share, share**3
    return np.asarray(
        (2 * s3 - 3 * s2 + 1) * start
        + (s3 - 2 * s2 + share) * slope_in
        + (3 * s2 - 2 * s3) * end
        + (s3 - s2) * slope_out
    )


def _slope(before: Row, here: Row, after: Row) -> Row:
    """The slope at a step between two others."""
    stands = (before == here) | (here == after)
    return np.where(stands, 0.0, (after - before) / 2)
