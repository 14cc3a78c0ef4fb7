# SPDX-License-Identifier: Apache-2.0
"""What the commands' stamps say of a loop, and the table of docs/benchmarks/control-loop.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.report import markdown

TIMER, CONTROL_NODE, FIFO = "rclpy_timer", "control_node", "control_node+fifo"
FLOOR = "bare_loop+fifo"
IDLE, BUSY = "none", "cameras+inference"
# The project's reference for p99 under load, s: what such a loop reached on a machine of this kind.
GOALS_S = {(CONTROL_NODE, 50): 3.8e-3, (FIFO, 50): 0.08e-3, (FIFO, 200): 0.03e-3}


@dataclass(frozen=True, slots=True)
class Row:
    """Period errors of one case, s; `lost` of the `ticks` that were due; chunks that came."""

    loop: str
    rate_hz: int
    load: str
    p50_s: float
    p99_s: float
    max_s: float
    lost: int
    ticks: int
    chunks: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarize(
    stamps_ns: Sequence[int],
    *,
    loop: str,
    rate_hz: int,
    load: str,
    begun_ns: int,
    seconds: float,
    chunks: int,
) -> Row:
    """The row of one case.

    Args:
        stamps_ns: Of the commands, ns, in the order in which they came.
        loop: Which loop commanded.
        rate_hz: Its nominal rate, Hz.
        load: What ran beside it.
        begun_ns: When the measurement began, ns by the clock of the stamps.
        seconds: How long it was, s.
        chunks: Action chunks that came meanwhile.

    Raises:
        ValueError: Fewer than two commands lie in that time.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    stamps = stamps[(stamps >= begun_ns) & (stamps < begun_ns + round(seconds * 1e9))]
    if len(stamps) < 2:
        raise ValueError(f"{loop} at {rate_hz} Hz, load {load}: only {len(stamps)} commands came")
    errors_s = np.abs(np.diff(stamps) * 1e-9 - 1.0 / rate_hz)
    p50_s, p99_s = np.percentile(errors_s, [50, 99])
    ticks = int(seconds * rate_hz)
    return Row(
        loop=loop,
        rate_hz=rate_hz,
        load=load,
        p50_s=float(p50_s),
        p99_s=float(p99_s),
        max_s=float(errors_s.max()),
        lost=max(0, ticks - len(stamps)),
        ticks=ticks,
        chunks=chunks,
    )


COLUMNS: dict[str, Callable[[Row], str]] = {
    "load": lambda r: r.load,
    "rate, Hz": lambda r: str(r.rate_hz),
    "loop": lambda r: r.loop,
    "p50, ms": lambda r: _ms(r.p50_s),
    "p99, ms": lambda r: _ms(r.p99_s),
    "max, ms": lambda r: _ms(r.max_s),
    "lost": lambda r: f"{r.lost} of {r.ticks}",
}


def progress(row: Row) -> str:
    """One line while it runs."""
    cells = [f"{name} {cell(row)}" for name, cell in COLUMNS.items()]
    return f"{', '.join(cells)}, chunks {row.chunks}"


def report(rows: Sequence[Row]) -> str:
    """The goals, then every row."""
    goals = "\n".join(f"- {line}" for line in goal_lines(rows))
    table = markdown([list(COLUMNS), *([cell(row) for cell in COLUMNS.values()] for row in rows)])
    return f"What must be reached under load, p99 of the period error:\n\n{goals}\n\n{table}"


def goal_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Each goal with what was measured."""
    for row in rows:
        goal_s = GOALS_S.get((row.loop, row.rate_hz)) if row.load == BUSY else None
        if goal_s is not None:
            verdict = "met" if row.p99_s <= goal_s else "missed"
            yield (
                f"`{row.loop}` at {row.rate_hz} Hz within {_ms(goal_s)} ms: **{verdict}**, "
                f"{_ms(row.p99_s)} ms{_beside_floor(row, rows)}"
            )


def _beside_floor(row: Row, rows: Sequence[Row]) -> str:
    """What the machine allowed at the time, where that was measured for such a loop."""
    like = row.rate_hz, row.load
    for floor in rows:
        if row.loop == FIFO and floor.loop == FLOOR and (floor.rate_hz, floor.load) == like:
            return f" (a bare loop right after it: {_ms(floor.p99_s)} ms)"
    return ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"
