# SPDX-License-Identifier: Apache-2.0
"""Tables of results, and the generated parts of docs/benchmarks/round-trip.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import ROOT
from bench.round_trip import Row
from bench.workload import Size

PAGE = ROOT / "docs" / "benchmarks" / "round-trip.md"
OURS, BOUND = "ours-tcp", "raw-tcp"
GOAL_SIZE = Size(2, 480, 640)
Table = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Goal:
    """`numerator` takes at least (or at most) `factor` times as long as `denominator`."""

    text: str
    numerator: str
    denominator: str
    factor: float
    at_least: bool = True

    def met(self, ratio: float) -> bool:
        return ratio >= self.factor if self.at_least else ratio <= self.factor


GOALS = (
    Goal("ours against N1.6's manner", "n1d6-tcp", OURS, 2.4),
    Goal("ours against N1.7's manner", "n1d7-tcp", OURS, 1.5),
    Goal("ours against openpi's manner", "openpi-websockets", OURS, 1.0),
    Goal("ours against LeRobot's manner", "lerobot-grpc", OURS, 1.0),
    Goal("ours against the raw socket", OURS, BOUND, 1.8, at_least=False),
    Goal("N1.6's client: our server against its own", "n1d6-tcp", "n1d6-client-on-ours", 1.25),
    Goal("N1.7's client: our server against its own", "n1d7-tcp", "n1d7-client-on-ours", 1.25),
)


def say(text: str) -> None:
    """A line for whoever watches, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_result(path: Path, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Keep what was measured, and on what."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"meta": about, "rows": list(rows)}, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


def markdown(table: Table) -> str:
    """A table with its columns lined up, so that it reads as well in a terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    ruler = ["-" * width for width in widths]
    lines = [table[0], ruler, *table[1:]]
    return "\n".join(
        f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines
    )


def round_trip_report(rows: Sequence[Row]) -> str:
    """Goals, medians with their ratio to ours, and 99th percentiles, of every malloc setting."""
    parts = []
    if any(row.size == GOAL_SIZE for row in rows):
        parts.append(f"Goals, medians at {GOAL_SIZE.label}:\n\n{markdown(goal_table(rows))}")
    for malloc in _in_order(row.malloc for row in rows):
        chosen = [row for row in rows if row.malloc == malloc]
        parts.append(
            f"Median round trip in ms (in brackets: as a multiple of {OURS}), "
            f"malloc {malloc}:\n\n{markdown(median_table(chosen))}"
        )
        parts.append(f"99th percentile in ms, malloc {malloc}:\n\n{markdown(p99_table(chosen))}")
    return "\n\n".join(parts)


def goal_table(rows: Sequence[Row]) -> Table:
    """Each goal with what was measured, by malloc setting."""
    mallocs = _in_order(row.malloc for row in rows)
    table = [["", "goal", *(f"malloc {malloc}" for malloc in mallocs)]]
    for goal in GOALS:
        cells = [_verdict(goal, rows, malloc) for malloc in mallocs]
        sign = "≥" if goal.at_least else "≤"
        table.append([goal.text, f"{sign} {goal.factor:g}", *cells])
    return table


def _verdict(goal: Goal, rows: Sequence[Row], malloc: str) -> str:
    p50 = {row.path: row.p50_s for row in rows if row.size == GOAL_SIZE and row.malloc == malloc}
    if not {goal.numerator, goal.denominator} <= p50.keys():
        return "not measured"
    ratio = p50[goal.numerator] / p50[goal.denominator]
    return f"{ratio:.3f} {'met' if goal.met(ratio) else 'missed'}"


def median_table(rows: Sequence[Row]) -> Table:
    ours = {row.size: row.p50_s for row in rows if row.path == OURS}

    def cell(row: Row) -> str:
        base = ours.get(row.size)
        ratio = f" ({row.p50_s / base:.1f})" if base else ""
        return f"{row.p50_s * 1e3:.2f}{ratio}"

    return _by_path_and_size(rows, cell)


def p99_table(rows: Sequence[Row]) -> Table:
    return _by_path_and_size(rows, lambda row: f"{row.p99_s * 1e3:.2f}")


def _by_path_and_size(rows: Sequence[Row], cell: Any) -> Table:
    sizes = _in_order(row.size for row in rows)
    found = {(row.path, row.size): cell(row) for row in rows}
    paths = _in_order(row.path for row in rows)
    head = ["", *(size.label for size in sizes)]
    return [head, *([path, *(found.get((path, size), "") for size in sizes)] for path in paths)]


def ros_report(rows: Sequence[dict[str, Any]]) -> str:
    """What reception costs, a line for each setting."""
    columns = {
        "Fast DDS profile": lambda r: r["profile"],
        "malloc": lambda r: r["malloc"],
        "images sent, 1/s": lambda r: f"{r['sent_per_s']:.1f}",
        "received, 1/s": lambda r: f"{r['received_per_s']:.1f}",
        "CPU for one, ms": lambda r: f"{r['cpu_per_image_s'] * 1e3:.2f}",
        "deserialise, ms": lambda r: f"{r['deserialise_p50_s'] * 1e3:.3f}",
        "into the buffer, ms": lambda r: f"{r['buffer_p50_s'] * 1e3:.3f}",
        "stamp to buffer p50 / p99, ms": lambda r: _pair(r, "latency"),
        "observation p50 / p99, ms": lambda r: _pair(r, "build"),
    }
    cells = [[str(cell(row)) for cell in columns.values()] for row in rows]
    return markdown([list(columns), *cells])


def _pair(row: dict[str, Any], name: str) -> str:
    p50_s, p99_s = row[f"{name}_p50_s"], row[f"{name}_p99_s"]
    return "none" if p50_s is None else f"{p50_s * 1e3:.2f} / {p99_s * 1e3:.2f}"


def meta_report(meta: dict[str, Any]) -> str:
    """Where and when it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
    before, after = meta["load_average"]["before"], meta["load_average"]["after"]
    counts = [f"{count} ({label})" for label, count in meta.get("round_trips", {}).items()]
    samples = f" Round trips of each path: {', '.join(counts)}." if counts else ""
    return (
        f"Measured {meta['date']} at commit {meta['commit']}: {meta['cpu']}, {meta['cores']} "
        f"cores; Python {meta['python']}, {versions}. Load average (1 min) {before:.2f} before, "
        f"{after:.2f} after.{samples}"
    )


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what lies between the markers of a generated section.

    Raises:
        ValueError: The page has no such section.
    """
    begin, end = f"<!-- {name}: generated by make bench -->", f"<!-- end of {name} -->"
    content = page.read_text(encoding="utf-8")
    if begin not in content or end not in content:
        raise ValueError(f"{page} has no section '{begin}' ... '{end}'")
    head, rest = content.split(begin, 1)
    tail = rest.split(end, 1)[1]
    page.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def _in_order(items: Any) -> list[Any]:
    return list(dict.fromkeys(items))
