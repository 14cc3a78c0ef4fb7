# SPDX-License-Identifier: Apache-2.0
"""The table of docs/benchmarks/motion.md, and what the default setting must reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.motion_metrics import Row
from bench.report import markdown

DEFAULT = "async+offset_fade"
GOAL_LATENCY_MS = 200
GOAL_JUMP_RAD = 1e-3
GOAL_COMPLETION = 1.10

COLUMNS: dict[str, Callable[[Row], str]] = {
    "strategy": lambda r: r.strategy,
    "latency, ms": lambda r: str(r.latency_ms),
    "success": lambda r: f"{r.success_rate:.0%}",
    "completion, s": lambda r: "none" if r.completion_s is None else f"{r.completion_s:.2f}",
    "jump at a boundary p50 / p95 / max, mrad": lambda r: _mrad(
        r.boundary_jump_p50_rad, r.boundary_jump_p95_rad, r.boundary_jump_rad
    ),
    "between p99.9, mrad": lambda r: _mrad(r.between_jump_rad),
    "chunks apart p50, mrad": lambda r: f"{r.chunk_jump_p50_rad * 1e3:.1f}",
    "jerk RMS / max, rad/s³": lambda r: f"{r.jerk_rms:.0f} / {r.jerk_max:.0f}",
    "fresh": lambda r: f"{r.fresh_fraction:.1%}",
    "age p50 / p99, s": lambda r: f"{r.age_p50_s:.2f} / {r.age_p99_s:.2f}",
    "limiter hits": lambda r: f"{r.limiter_hits:.0f}",
}


def progress(row: Row) -> str:
    """One line while it runs."""
    return (
        f"{row.strategy}, {row.latency_ms} ms: {row.success_rate:.0%} of {row.seeds}, "
        f"{COLUMNS['completion, s'](row)} s"
    )


def report(rows: Sequence[Row]) -> str:
    """The goals, then every row."""
    goals = "\n".join(f"- {line}" for line in goal_lines(rows))
    table = markdown([list(COLUMNS), *([cell(row) for cell in COLUMNS.values()] for row in rows)])
    requests, lost = sum(row.requests for row in rows), sum(row.lost_requests for row in rows)
    return (
        f"What the default setting (`{DEFAULT}`) must reach:\n\n{goals}\n\n{table}\n\n"
        f"{rows[0].seeds} episodes a row; {requests} requests in all, {lost} of them lost."
    )


def goal_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Each goal with what was measured; empty where the latencies for it were not."""
    default = {row.latency_ms: row for row in rows if row.strategy == DEFAULT}
    if 0 not in default:
        return
    base = default[0]
    within = [row for latency_ms, row in sorted(default.items()) if latency_ms <= GOAL_LATENCY_MS]
    worst = min(row.success_rate for row in within)
    yield _line(
        f"no success lost up to {GOAL_LATENCY_MS} ms against 0 ms",
        f"{base.success_rate:.0%} at 0 ms, {worst:.0%} at worst",
        worst >= base.success_rate,
    )
    for row in within:
        yield _line(
            f"jumps at a boundary below {GOAL_JUMP_RAD * 1e3:g} mrad, at {row.latency_ms} ms",
            f"{row.boundary_jump_p50_rad * 1e3:.2f} mrad at the median, "
            f"{row.boundary_jump_p95_rad * 1e3:.2f} at the 95th percentile, "
            f"{row.takeover_jump_rad * 1e3:.2f} the largest from chunk to chunk, "
            f"{row.boundary_jump_rad * 1e3:.2f} the largest of all",
            row.boundary_jump_rad < GOAL_JUMP_RAD,
        )
    for row in within[1:]:
        if row.completion_s is None or base.completion_s is None:
            continue
        ratio = row.completion_s / base.completion_s
        yield _line(
            f"completion within {GOAL_COMPLETION - 1:.0%} of the run without latency, "
            f"at {row.latency_ms} ms",
            f"{ratio - 1:+.1%}",
            ratio <= GOAL_COMPLETION,
        )


def _line(goal: str, measured: str, met: bool) -> str:
    return f"{goal}: {'**met**' if met else '**missed**'}, {measured}"


def _mrad(*values: float) -> str:
    return " / ".join(f"{value * 1e3:.2f}" for value in values)
