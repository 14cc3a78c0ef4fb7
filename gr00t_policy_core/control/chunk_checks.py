# SPDX-License-Identifier: Apache-2.0
"""Checks that a chunk may move the robot. Each check raises `ChunkRefusedError`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk
from gr00t_policy_core.control.body_limiter import pose_distances
from gr00t_policy_core.control.body_workspace import BodyWorkspace
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_settings import (
    ObservationAgeLimit,
    OutOfRange,
    PlayerSettings,
)
from gr00t_policy_core.control.workspace import Workspace

# A chunk from further ahead than this was stamped by another clock.
MAX_FUTURE_NS = 1_000_000_000
# More than any robot is commanded to: 10 km, 1600 turns. Ruckig fails at 1e8 (measured).
MAX_COMMAND = 1e4
# How far outside its range a joint may be without being refused, rad (or m): it sags, or its
# encoder reads a little beyond the stop.
RANGE_TOLERANCE = 0.01


def require_layout(chunk: Chunk, layout: ActionLayout) -> None:
    """Require that the chunk has the keys and dimensions of the layout."""
    found = {key: rows.shape[1] for key, rows in chunk.actions.items()}
    if found != layout.dimensions:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id} has keys and dimensions {found}, expected {layout.dimensions}"
        )


def require_steps_ahead(planned: ActiveChunk, now_ns: int) -> None:
    """Require that some step of a chunk planned for this instant is still ahead."""
    chunk = planned.chunk
    if now_ns < planned.last_ns or (chunk.horizon == 1 and now_ns == planned.last_ns):
        return
    age_s, duration_s = (now_ns - chunk.t0_ns) * 1e-9, (chunk.end_ns - chunk.t0_ns) * 1e-9
    raise ChunkRefusedError(
        f"chunk {chunk.chunk_id} came {age_s:.3f} s after its observation: no step is left of its "
        f"{duration_s:.3f} s; the policy is slower than its chunks are long (inference: sync waits "
        "for it), or clocks differ"
    )


def require_recent(chunk: Chunk, now_ns: int, age_limit: ObservationAgeLimit) -> None:
    """Require that the observation behind the chunk is neither from the future nor too old."""
    age_s = (now_ns - chunk.t0_ns) * 1e-9
    if now_ns + MAX_FUTURE_NS < chunk.t0_ns:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id} starts {-age_s:.3f} s in the future: clocks differ"
        )
    limit_s = age_limit.limit_of(chunk)
    if age_s > limit_s:
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id}: its observation is {age_s:.2f} s old, max_observation_age_s "
            f"is {limit_s:.3g}; the policy is too slow for that, or clocks differ"
        )


def require_sane(chunk: Chunk, rows: Row, layout: ActionLayout) -> None:
    """Require that no value is commanded beyond what any robot can do.

    Args:
        chunk: The chunk that is named in the error.
        rows: Its steps, float64 (horizon, size).
        layout: Names the values in the error.
    """
    is_absurd = np.abs(rows) > MAX_COMMAND
    if is_absurd.any():
        step, index = np.argwhere(is_absurd)[0].tolist()
        raise ChunkRefusedError(
            f"chunk {chunk.chunk_id}: step {step} commands {layout.name_of(index)} to "
            f"{rows[step, index]:.4g}, no robot goes beyond {MAX_COMMAND:g} rad or m"
        )


def require_in_range(
    chunk: Chunk, start: Row, layout: ActionLayout, settings: PlayerSettings
) -> None:
    """Require that nothing is outside its range, unless the robot may return by itself.

    Args:
        chunk: The chunk that is named in the error.
        start: Where the motion begins, float64 (size,).
        layout: Names the joints in the error.
        settings: Name the ranges and workspaces, and say whether the robot may return.
    """
    for outside in describe_out_of_range(layout, settings, start):
        raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {outside}")


def describe_out_of_range(
    layout: ActionLayout, settings: PlayerSettings, start: Row
) -> Iterator[str]:
    """Describe each joint outside its range, and each tip or pose outside its workspace.

    None where the robot may return by itself (`out_of_range: return`).

    Args:
        layout: Names the joints.
        settings: Name the ranges and workspaces, and say whether the robot may return.
        start: Where the robot is, float64 (size,).
    """
    if settings.out_of_range is OutOfRange.RETURN:
        return
    remedy = "bring it back by hand, or set out_of_range: return"
    for index, joint in settings.limits.items():
        position = start[index]
        if not joint.lower - RANGE_TOLERANCE <= position <= joint.upper + RANGE_TOLERANCE:
            name, reach = layout.name_of(index), f"{joint.lower:.3f} to {joint.upper:.3f}"
            yield f"{name} is at {position:.3f}, outside its range {reach}; {remedy}"
    workspaces: tuple[Workspace | BodyWorkspace, ...] = settings.workspaces
    for workspace in (*workspaces, *settings.body_workspaces):
        for outside in workspace.outside(start):
            yield f"{outside}; {remedy}"


def require_near(
    chunk: Chunk, entry: Row, start: Row, layout: ActionLayout, settings: PlayerSettings
) -> None:
    """Require that the chunk begins within `max_jump` of where the robot is.

    Args:
        chunk: The chunk that is named in the error.
        entry: Where it begins, float64 (size,).
        start: Where the robot is, float64 (size,).
        layout: Names the joints and poses.
        settings: Name the limited joints, and `max_jump`.
    """
    limit = settings.max_jump
    for jump in describe_jumps(layout, settings.limits, entry, start, limit):
        raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {jump}; max_jump is {limit:g}")


def describe_jumps(
    layout: ActionLayout, joints: Mapping[int, JointLimits], to: Row, origin: Row, limit: float
) -> Iterator[str]:
    """Describe the jump of each limited joint and each pose that jumps further than a limit.

    A velocity has no place to be far from.

    Args:
        layout: Names the joints and poses.
        joints: Limits of joints, by their index in the vector.
        to, origin: The two ends of the jump, float64 (size,).
        limit: The largest jump that is left out, rad and m.
    """
    for index in joints:
        if layout.is_velocity[index]:
            continue
        jump = abs(to[index] - origin[index])
        if jump > limit:
            name = layout.name_of(index)
            yield f"{name} would jump by {jump:.3f}, from {origin[index]:.3f} to {to[index]:.3f}"
    for key in layout.poses:
        part = layout.slices[key]
        jump_m, angle_rad = pose_distances(to[part], origin[part])
        if jump_m > limit:
            yield f"{key} would jump by {jump_m:.3f} m"
        if angle_rad > limit:
            yield f"{key} would turn by {angle_rad:.3f} rad"
