# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks/round-trip.png: every transport at one size, and over all sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.report import BOUND, GOAL_SIZE, OURS
from bench.round_trip import Row

COLOURS = {
    OURS: "#d62728",
    "ours-ipc": "#e7969c",
    "ours-curve": "#843c39",
    "ours-jpeg": "#e6550d",
    "n1d6-client-on-ours": "#ff9896",
    "n1d7-client-on-ours": "#f7b6a2",
    "n1d6-tcp": "#1f77b4",
    "n1d7-tcp": "#6baed6",
    "openpi-websockets": "#2ca02c",
    "lerobot-grpc": "#9467bd",
    BOUND: "#555555",
}
OTHER = "#bcbd22"
ON_OURS = "-client-on-ours"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Two panels: bars at `GOAL_SIZE`, and medians over the bytes of an observation."""
    figure, (bars, lines) = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
    _draw_bars(bars, [row for row in rows if row.size == GOAL_SIZE])
    _draw_lines(lines, [row for row in rows if row.malloc == rows[-1].malloc])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    mallocs = list(dict.fromkeys(row.malloc for row in rows))
    by_path = {row.path: row.p50_s for row in rows if row.malloc == mallocs[-1]}
    order = sorted(by_path, key=by_path.__getitem__, reverse=True)
    thickness = 0.8 / len(mallocs)
    for index, malloc in enumerate(reversed(mallocs)):
        shift = (index - (len(mallocs) - 1) / 2) * thickness
        alpha = 1.0 if malloc == mallocs[-1] else 0.45
        for row in (row for row in rows if row.malloc == malloc):
            place = order.index(row.path) + shift
            p50_ms, p99_ms = row.p50_s * 1e3, row.p99_s * 1e3
            colour = COLOURS.get(row.path, OTHER)
            axes.barh(place, p50_ms, thickness * 0.9, color=colour, alpha=alpha)
            axes.plot([p50_ms, p99_ms], [place, place], color=colour, alpha=alpha, linewidth=1)
            axes.plot(p99_ms, place, "|", color=colour, alpha=alpha, markersize=7)
            label = f"  {p50_ms:.2f} / {p99_ms:.1f}"
            axes.text(p99_ms, place, label, va="center", fontsize=8)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlim(0, max(row.p99_s for row in rows) * 1.2e3)
    axes.set_xlabel("round trip, ms: median (bar) / 99th percentile (line)")
    pale = f"; pale: malloc {mallocs[0]}, full: {mallocs[-1]}" if len(mallocs) > 1 else ""
    axes.set_title(f"{GOAL_SIZE.label}{pale}")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lines(axes: Axes, rows: Sequence[Row]) -> None:
    for path in dict.fromkeys(row.path for row in rows):
        chosen = sorted((r for r in rows if r.path == path), key=lambda r: r.size.pixel_bytes)
        axes.plot(
            [row.size.pixel_bytes / 1e6 for row in chosen],
            [row.p50_s * 1e3 for row in chosen],
            color=COLOURS.get(path, OTHER),
            linestyle="--" if path == BOUND else ":" if path.endswith(ON_OURS) else "-",
            linewidth=2.8 if path == OURS else 1.5,
            marker="o",
            markersize=3.5,
            label=path,
        )
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("pixels of one observation, MB")
    axes.set_ylabel("median round trip, ms")
    axes.set_title(f"1, 2, 4 cameras of 224x224, 480x640, 720x1280; malloc {rows[0].malloc}")
    axes.grid(which="both", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
