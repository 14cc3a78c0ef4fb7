# SPDX-License-Identifier: Apache-2.0
"""From recorded commands to the numbers of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.motion_run import Recording

PERIOD_S = 0.01
ARM_JOINTS = 6
BOUNDARY_TICKS = 5  # from a switch on: the limiter spreads over some ticks what it takes away


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a strategy at a latency, over all seeds.

    Jumps and jerks are of the six joints in rad; the gripper is in m and left out.

    Attributes:
        success_rate: Share of the episodes whose cube is in the bin at the end.
        completion_s: Mean time to that, of those episodes, s.
        boundary_jump_rad: Largest change of a joint's command from one tick to the next, beyond
            what the velocity before explains, within `BOUNDARY_TICKS` of a switch of chunks.
        takeover_jump_rad: The same, of those switches only at which one chunk takes over from
            another; the others start from a standstill, after the chunks had run out.
        boundary_jump_p50_rad, boundary_jump_p95_rad: The same over all switches, each with its
            largest joint: the median, and the 95th percentile.
        between_jump_rad: The same quantity away from the switches: what the motion itself needs;
            99.9th percentile.
        chunk_jump_p50_rad: How far a chunk was from the path that it took over; median.
        jerk_rms, jerk_max: Of the commands, rad/s^3.
        age_p50_s, age_p99_s: From observation to command, of fresh commands, s.
        fresh_fraction: Share of the ticks, from the first command on, whose command is of a chunk.
        limiter_hits: Ticks in which a limit bound a joint, mean of an episode.
        refused_chunks: Mean of an episode.
        requests, lost_requests: Sums over all episodes.
    """

    strategy: str
    latency_ms: int
    seeds: int
    success_rate: float
    completion_s: float | None
    boundary_jump_rad: float
    takeover_jump_rad: float
    boundary_jump_p50_rad: float
    boundary_jump_p95_rad: float
    between_jump_rad: float
    chunk_jump_p50_rad: float
    jerk_rms: float
    jerk_max: float
    age_p50_s: float
    age_p99_s: float
    fresh_fraction: float
    limiter_hits: float
    refused_chunks: float
    requests: int
    lost_requests: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(recordings: Sequence[Recording]) -> Row:
    """The row of one strategy at one latency.

    Args:
        recordings: Of all seeds; at least one.
    """
    case = recordings[0].case
    done = [r.completion_s for r in recordings if r.completion_s is not None]
    at_switches = np.concatenate([boundary_jumps(r) for r in recordings])
    at_takeovers = np.concatenate([boundary_jumps(r)[r.fresh[r.switches - 1]] for r in recordings])
    between = np.concatenate([_between_jumps(r) for r in recordings])
    jerks = np.concatenate([_jerks(r.commands) for r in recordings])
    ages = np.concatenate([r.ages_s for r in recordings])
    offsets = np.concatenate([r.chunk_jumps for r in recordings])
    return Row(
        strategy=case.strategy.name,
        latency_ms=round(case.latency_s * 1e3),
        seeds=len(recordings),
        success_rate=len(done) / len(recordings),
        completion_s=float(np.mean(done)) if done else None,
        boundary_jump_rad=float(at_switches.max(initial=0.0)),
        takeover_jump_rad=float(at_takeovers.max(initial=0.0)),
        boundary_jump_p50_rad=_percentile(at_switches, 50),
        boundary_jump_p95_rad=_percentile(at_switches, 95),
        between_jump_rad=_percentile(between, 99.9),
        chunk_jump_p50_rad=_percentile(offsets, 50),
        jerk_rms=float(np.sqrt(np.mean(jerks**2))),
        jerk_max=float(np.abs(jerks).max()),
        age_p50_s=_percentile(ages, 50),
        age_p99_s=_percentile(ages, 99),
        fresh_fraction=float(np.concatenate([r.fresh for r in recordings]).mean()),
        limiter_hits=float(np.mean([r.limiter_hits for r in recordings])),
        refused_chunks=float(np.mean([r.refused for r in recordings])),
        requests=sum(r.requests for r in recordings),
        lost_requests=sum(r.lost for r in recordings),
    )


def boundary_jumps(recording: Recording) -> NDArray[np.float64]:
    """For each switch of chunks, the largest jump that velocity does not explain, rad."""
    jumps = _jumps(recording.commands)
    return np.array(
        [jumps[tick : tick + BOUNDARY_TICKS].max(initial=0.0) for tick in recording.switches]
    )


def _between_jumps(recording: Recording) -> NDArray[np.float64]:
    jumps = _jumps(recording.commands)
    away = np.ones(len(jumps), dtype=bool)
    for tick in recording.switches:
        away[tick : tick + BOUNDARY_TICKS] = False
    return jumps[away]


def _jumps(commands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per tick the largest second difference over the joints, rad; 0 for the first two ticks."""
    bends = np.abs(np.diff(commands[:, :ARM_JOINTS], n=2, axis=0)).max(axis=1)
    return np.concatenate([np.zeros(min(2, len(commands))), bends])


def _jerks(commands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Third differences of the joints, rad/s^3, all joints in one row."""
    return np.diff(commands[:, :ARM_JOINTS], n=3, axis=0).ravel() / PERIOD_S**3


def _percentile(values: NDArray[np.float64], share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else 0.0
