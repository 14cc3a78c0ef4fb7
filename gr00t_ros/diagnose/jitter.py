# SPDX-License-Identifier: Apache-2.0
"""The three measures of jitter that NVIDIA publishes for real-world deployment. Pure.

From the guide of Isaac-GR00T N1.7, getting_started/real_world_deployment.md, section 6,
"Quantitative diagnostic metrics". The guide takes all joints together, by their L2 norm; here each
joint is measured as well, by the same formula with one joint.

The guide's `execute_steps`, the steps of a chunk that are executed before the next one, is a number
for the whole run. Chunks of gr00t_ros have times, so each pair has its own: from the observation of
one to the observation of the next, and the whole chunk where the next comes after its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gr00t_ros.diagnose.run import NAN, RunChunk, Vector

EPSILON = 1e-8  # of the guide, against a division by zero
STANDSTILL = 1e-6  # rad or m per step: no direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """The jitter of all joints together, or of one.

    Args:
        acceleration: Mean second difference of positions within a chunk, rad or m per step².
        boundary_jump: Mean distance from the last executed step of a chunk to the first step of
            the next, rad or m.
        direction_agreement: Mean cosine of the velocities there, 1 to -1; of a single joint the
            mean of the signs' product. NaN where nothing moves.
        step: Mean distance of two steps within a chunk, rad or m, to compare the others with.
    """

    acceleration: float
    boundary_jump: float
    direction_agreement: float
    step: float


def measure_jitter(chunks: Sequence[RunChunk]) -> Jitter:
    """Measure the jitter of all joints together, as NVIDIA's guide does."""
    return _measure(chunks, slice(None))


def measure_joint_jitter(chunks: Sequence[RunChunk], joint: int) -> Jitter:
    """Measure the jitter of one joint, by its place in the chunks' values."""
    return _measure(chunks, slice(joint, joint + 1))


def executed_steps(chunk: RunChunk, following: RunChunk) -> int:
    """The steps of a chunk before the observation of the next one, at least 2, at most all."""
    steps = round((following.t0_s - chunk.t0_s) / chunk.dt_s)
    return int(np.clip(steps, min(2, len(chunk.values)), len(chunk.values)))


def _measure(chunks: Sequence[RunChunk], columns: slice) -> Jitter:
    accelerations: list[float] = []
    steps: list[float] = []
    for chunk in chunks:
        values = chunk.values[:, columns]
        steps.extend(_norms(np.diff(values, axis=0)))
        accelerations.extend(_norms(np.diff(values, n=2, axis=0)))
    jumps: list[float] = []
    cosines: list[float] = []
    for chunk, following in pairwise(chunks):
        if following.t0_s <= chunk.t0_s:
            continue
        last = executed_steps(chunk, following) - 1
        before, after = chunk.values[:, columns], following.values[:, columns]
        jumps.append(float(np.linalg.norm(after[0] - before[last])))
        if last >= 1 and len(after) >= 2:
            cosines.append(_cosine(before[last] - before[last - 1], after[1] - after[0]))
    known = [cosine for cosine in cosines if not np.isnan(cosine)]
    return Jitter(
        acceleration=_mean(accelerations),
        boundary_jump=_mean(jumps),
        direction_agreement=_mean(known),
        step=_mean(steps),
    )


def _norms(rows: Vector) -> list[float]:
    norms: list[float] = np.linalg.norm(rows, axis=-1).tolist()
    return norms


def _cosine(first: Vector, second: Vector) -> float:
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if min(lengths) < STANDSTILL:
        return NAN
    return float(first @ second / (lengths[0] * lengths[1] + EPSILON))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else NAN
