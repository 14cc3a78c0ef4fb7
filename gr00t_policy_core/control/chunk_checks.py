# SPDX-License-Identifier: Apache-2.0
"""What a chunk must be for the robot to be moved by it. Each check raises `ChunkRefusedError`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.command_limiter import jumps
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_settings import ObservationAgeLimit, PlayerSettings

# A chunk from further ahead than this was stamped by another clock.
MAX_FUTURE_NS = 1_000_000_000
# More than any robot is asked for: 10 km, 1600 turns. Ruckig fails at 1e8 (measured).
MAX_ASKED = 1e4
# How far outside its range a joint may be without being named, rad (or m): it sags, or its encoder
# reads a little beyond the stop.
RANGE_TOLERANCE = 0.01


def require_recent(chunk: Chunk, now_ns: int, age: ObservationAgeLimit) -> None:
    """The observation behind the chunk is neither from the future nor too old."""
    age_s = (now_ns - chunk.t0_ns) * 1e-9
    if now_ns + MAX_FUTURE_NS < chunk.t0_ns:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id} starts {-age_s:.3f} s in the future: clocks differ"
        )
    limit_s = age.limit_of(chunk)
    if age_s > limit_s:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id}: its observation is {age_s:.2f} s old, max_observation_age_s "
            f"is {limit_s:.3g}; the policy is too slow for that, or clocks differ"
        )


def require_sane(chunk: Chunk, rows: Row, layout: ActionLayout, settings: PlayerSettings) -> None:
    """No joint, pose or twist is asked for more than any robot can do.

    Args:
        chunk: The chunk.
        rows: Its steps, float64 (horizon, size).
        layout: Layout of the rows.
        settings: Name the joints and bodies; what is neither is passed on as it is.
    """
    is_checked = np.zeros(layout.size, dtype=bool)
    is_checked[list(settings.limits)] = True
    for key in settings.bodies:
        is_checked[layout.slices[key]] = True
    is_absurd = is_checked & (np.abs(rows) > MAX_ASKED)
    if is_absurd.any():
        step, index = np.argwhere(is_absurd)[0].tolist()
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id}: step {step} asks {layout.name_of(index)} for "
            f"{rows[step, index]:.4g}, at most {MAX_ASKED:g} rad or m makes sense"
        )


def require_in_range(
    chunk: Chunk, start: Row, layout: ActionLayout, limits: Mapping[int, JointLimits]
) -> None:
    """No joint stands outside its range."""
    for index, joint in limits.items():
        position = start[index]
        if joint.lower - RANGE_TOLERANCE <= position <= joint.upper + RANGE_TOLERANCE:
            continue
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id}: {layout.name_of(index)} is at {position:.3f}, outside its "
            f"range {joint.lower:.3f} to {joint.upper:.3f}; bring it back by hand, or set "
            "out_of_range: return"
        )


def require_near(
    chunk: Chunk, entry: Row, start: Row, layout: ActionLayout, settings: PlayerSettings
) -> None:
    """The chunk does not begin further than `max_jump` from where the robot is."""
    limit = settings.max_jump
    for jump in jumps(layout, settings.limits, entry, start, limit):
        raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {jump}; max_jump is {limit:g}")
