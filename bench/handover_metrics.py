# SPDX-License-Identifier: Apache-2.0
"""From recorded changes of the driver to the rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.handover_run import Handover, HandoverRecording
from bench.motion_metrics import ARM_JOINTS, BOUNDARY_TICKS, PERIOD_S
from bench.motion_parts import demo_contract
from bench.report import markdown

WINDOW_TICKS = 100  # from a change of the driver on: braking, blending, and what comes of them
TO_PERSON, TO_POLICY, ELSEWHERE = "policy to person", "person to policy", "away from both"


@dataclass(frozen=True, slots=True)
class HandoverRow:
    """One line of the result: one change of the driver at a latency of the policy, over all seeds.

    Jumps and derivatives are of the commands of the six joints.

    Attributes:
        success_rate: Share of the episodes whose cube, the one that was meant, is in the bin.
        periods_p50, periods_max: Control periods from the button to the first command of the new
            driver; None away from the changes.
        jump_p50_rad, jump_p95_rad, jump_max_rad: Largest change of a joint's command from one tick
            to the next, beyond what the velocity before explains, within `BOUNDARY_TICKS`.
        speed_max, acceleration_max, jerk_max: Within `WINDOW_TICKS`, rad/s, rad/s^2, rad/s^3.
    """

    boundary: str
    latency_ms: int
    seeds: int
    success_rate: float
    periods_p50: float | None
    periods_max: float | None
    jump_p50_rad: float
    jump_p95_rad: float
    jump_max_rad: float
    speed_max: float
    acceleration_max: float
    jerk_max: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(recordings: Sequence[HandoverRecording]) -> Iterator[HandoverRow]:
    """The rows of one latency.

    Args:
        recordings: Of all seeds; at least one.
    """
    changes: dict[str, Callable[[HandoverRecording], Handover | None]] = {
        TO_PERSON: lambda recording: recording.to_person,
        TO_POLICY: lambda recording: recording.to_policy,
    }
    for boundary, change_of in changes.items():
        found = [(r, change) for r in recordings if (change := change_of(r)) is not None]
        windows = [r.commands[_first(c) : c.tick + WINDOW_TICKS] for r, c in found]
        jumps = [_bends(window[: BOUNDARY_TICKS + 2]) for window in windows]
        yield _row(recordings, boundary, windows, jumps, [c.periods for _, c in found])
    elsewhere = [part for recording in recordings for part in _elsewhere(recording)]
    yield _row(recordings, ELSEWHERE, elsewhere, [_bends(part) for part in elsewhere], [])


def _row(
    recordings: Sequence[HandoverRecording],
    boundary: str,
    windows: Sequence[NDArray[np.float64]],
    jumps: Sequence[NDArray[np.float64]],
    periods: Sequence[float],
) -> HandoverRow:
    largest = np.array([part.max(initial=0.0) for part in jumps])
    case = recordings[0].case
    return HandoverRow(
        boundary=boundary,
        latency_ms=round(case.latency_s * 1e3),
        seeds=len(recordings),
        success_rate=sum(r.completion_s is not None for r in recordings) / len(recordings),
        periods_p50=float(np.median(periods)) if periods else None,
        periods_max=max(periods) if periods else None,
        jump_p50_rad=_percentile(largest, 50),
        jump_p95_rad=_percentile(largest, 95),
        jump_max_rad=float(largest.max(initial=0.0)),
        speed_max=_derivative(windows, 1),
        acceleration_max=_derivative(windows, 2),
        jerk_max=_derivative(windows, 3),
    )


def _first(change: Handover) -> int:
    """The tick from which the derivatives at a change are known: three before it."""
    return max(0, change.tick - 2)


def _elsewhere(recording: HandoverRecording) -> Iterator[NDArray[np.float64]]:
    """The commands before, between and after the changes of the driver."""
    start = 0
    for change in (recording.to_person, recording.to_policy):
        if change is not None:
            yield recording.commands[start : _first(change)]
            start = change.tick + WINDOW_TICKS
    yield recording.commands[start:]


def _bends(commands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per tick the largest second difference over the joints, rad."""
    return np.abs(np.diff(commands[:, :ARM_JOINTS], n=2, axis=0)).max(axis=1, initial=0.0)


def _derivative(windows: Sequence[NDArray[np.float64]], order: int) -> float:
    """The largest derivative of a joint within the windows."""
    parts = [np.abs(np.diff(part[:, :ARM_JOINTS], n=order, axis=0)) for part in windows]
    return max((float(part.max(initial=0.0)) for part in parts), default=0.0) / PERIOD_S**order


def _percentile(values: NDArray[np.float64], share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else 0.0


def report(rows: Sequence[HandoverRow]) -> str:
    """The table, with the limits that the commands must keep."""
    limits = demo_contract("offset_fade").action[0].limits[0]
    columns: dict[str, Callable[[HandoverRow], str]] = {
        "change of the driver": lambda r: r.boundary,
        "latency, ms": lambda r: str(r.latency_ms),
        "success": lambda r: f"{r.success_rate:.0%}",
        "new driver after p50 / max, periods": _periods,
        "jump p50 / p95 / max, mrad": lambda r: (
            f"{r.jump_p50_rad * 1e3:.2f} / {r.jump_p95_rad * 1e3:.2f} / {r.jump_max_rad * 1e3:.2f}"
        ),
        f"speed max, rad/s (limit {limits.velocity:g})": lambda r: f"{r.speed_max:.2f}",
        f"acceleration max, rad/s² (limit {limits.acceleration:g})": (
            lambda r: f"{r.acceleration_max:.1f}"
        ),
        f"jerk max, rad/s³ (limit {limits.jerk:g})": lambda r: f"{r.jerk_max:.0f}",
    }
    table = markdown([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])
    return f"{table}\n\n{rows[0].seeds} episodes a row."


def _periods(row: HandoverRow) -> str:
    if row.periods_p50 is None or row.periods_max is None:
        return ""
    return f"{row.periods_p50:.1f} / {row.periods_max:.1f}"
