# SPDX-License-Identifier: Apache-2.0
"""Chooses the steps of a recording that become episodes. Pure.

The filters are those of Isaac-GR00T's guide to real-world deployment: jumps of the state, blurred
frames, idle heads and tails; and what the policy drove, which HG-DAgger leaves out. A step that is
left out ends an episode, because the steps of an episode follow each other at the rate of the
dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gr00t_ros.convert.settings import Filters

IDLE, JUMP, BLURRED, SHORT = "idle", "jump of the state", "blurred", "too short an episode"
POLICY = "driven by the policy"
SHARPNESS_WIDTH = 320  # px; noise of large images would count as sharp

Values = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the filters look at, over steps that follow each other.

    Args:
        measured: Measured positions in rad or m, (steps, D).
        positions: Measured and commanded positions in rad or m, (steps, D).
        sharpness: The sharpness of each image by camera, (steps,); empty if nobody asks.
        corrected: Whether the action of each step is a person's in place of the policy's, (steps,).
        fps: Steps per second.
    """

    measured: Values
    positions: Values
    sharpness: Mapping[str, Values]
    corrected: Flags
    fps: float


def chosen_steps(
    recorded: Recorded, filters: Filters, *, grain: int, dropped: Counter[str]
) -> list[range]:
    """The parts of a recording that become episodes.

    Args:
        recorded: The recording.
        filters: The filters that are on.
        grain: An episode begins at a multiple of this many steps, where its videos can be cut.
        dropped: Counts the steps that each filter leaves out.
    """
    steps = len(recorded.positions)
    blurred = _blurred(recorded, filters.blur_share, steps)
    dropped[BLURRED] += int(blurred.sum())
    jumps = _jumps(recorded, filters.jump_speed, steps)
    dropped[JUMP] += int(jumps.sum())
    wanted, begins = _wanted(recorded, filters)
    dropped[POLICY] += int((~wanted & ~blurred).sum())
    demonstrated = recorded.corrected if filters.corrections_only else wanted
    parts = []
    for part in _runs(wanted & ~blurred, jumps | begins):
        moving = _without_idle(recorded.positions, part, filters.idle_motion)
        start = -(-moving.start // grain) * grain
        kept = range(min(start, moving.stop), moving.stop)
        dropped[IDLE] += len(part) - len(moving)
        length = demonstrated[kept.start : kept.stop].sum()
        if length < max(1.0, filters.min_length_s * recorded.fps):
            dropped[SHORT] += len(moving)
            continue
        dropped[SHORT] += len(moving) - len(kept)
        parts.append(kept)
    return parts


def sharpness(image: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of an image, a common measure: low where it is blurred."""
    height, width = image.shape[:2]
    if width > SHARPNESS_WIDTH:
        size = (SHARPNESS_WIDTH, max(1, round(height * SHARPNESS_WIDTH / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _wanted(recorded: Recorded, filters: Filters) -> tuple[Flags, Flags]:
    """The steps to make episodes of, and those of them that begin another episode."""
    corrected = recorded.corrected
    begins = np.zeros(len(corrected), dtype=bool)
    if not filters.corrections_only:
        return ~begins, begins
    wanted = corrected.copy()
    lead_in = round(filters.lead_in_s * recorded.fps)
    before = 0
    for correction in runs(corrected):
        first = max(before, correction.start - lead_in)
        wanted[first : correction.start] = begins[first] = True
        before = correction.stop
    return wanted, begins


def _blurred(recorded: Recorded, share: float | None, steps: int) -> Flags:
    blurred = np.zeros(steps, dtype=bool)
    if share is not None:
        for values in recorded.sharpness.values():
            blurred |= values < share * np.median(values)
    return blurred


def _jumps(recorded: Recorded, speed: float | None, steps: int) -> Flags:
    """Where a measured position is too far from that of the step before."""
    jumps = np.zeros(steps, dtype=bool)
    if speed is not None and steps > 1 and recorded.measured.shape[1]:
        moved = np.abs(np.diff(recorded.measured, axis=0)).max(axis=1)
        jumps[1:] = moved * recorded.fps > speed
    return jumps


def runs(flags: Flags) -> Iterator[range]:
    """The runs of steps with the flag."""
    return _runs(flags, np.zeros(len(flags), dtype=bool))


def _runs(usable: Flags, begins: Flags) -> Iterator[range]:
    """The runs of usable steps; a step that `begins` starts another run."""
    start: int | None = None
    for step, (is_usable, is_first) in enumerate(zip(usable, begins, strict=True)):
        if start is not None and (is_first or not is_usable):
            yield range(start, step)
            start = None
        if is_usable and start is None:
            start = step
    if start is not None:
        yield range(start, len(usable))


def _without_idle(positions: Values, part: range, motion: float | None) -> range:
    """The part without the steps before the first motion and after the last one."""
    if motion is None or not positions.shape[1]:
        return part
    rows = positions[part.start : part.stop]
    left = np.flatnonzero(np.abs(rows - rows[0]).max(axis=1) > motion)
    arrived = np.flatnonzero(np.abs(rows - rows[-1]).max(axis=1) > motion)
    if not len(left):
        return range(part.start, part.start)
    return range(part.start + int(left[0]) - 1, part.start + int(arrived[-1]) + 2)


def counted(dropped: Mapping[str, int]) -> dict[str, int]:
    """The counts that are not zero, the largest first."""
    pairs: Sequence[tuple[str, int]] = sorted(dropped.items(), key=lambda pair: -pair[1])
    return {cause: count for cause, count in pairs if count}
