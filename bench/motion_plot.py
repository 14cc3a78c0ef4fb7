# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks/motion.png: how each strategy moves at one latency, and what latency costs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bench.motion_metrics import PERIOD_S, Row
from bench.motion_report import GOAL_JUMP_RAD
from bench.motion_run import Recording
from gr00t_ros.contract.motion_parameters import BLEND_MODES

SHOWN = ("sync+replace", *(f"async+{blend}" for blend in BLEND_MODES))
PALETTE = ("#7f7f7f", "#ff7f0e", "#d62728", "#2ca02c", "#1f77b4", "#9467bd", "#8c564b", "#e377c2")
COLOURS = dict(zip(SHOWN, cycle(PALETTE), strict=False))
TRACE_LATENCY_MS = 200
TRACE_JOINT, TRACE_NAME = 0, "shoulder_pan"


def draw(rows: Sequence[Row], recordings: Sequence[Recording], path: Path) -> None:
    """Left the speed of a joint's command in one episode, right three numbers over the latency.

    Args:
        rows: Of all strategies at all latencies.
        recordings: One episode of each row, of the same seed.
        path: The picture to write.
    """
    figure = plt.figure(figsize=(14, 8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1.0))
    _draw_traces(left.subplots(len(SHOWN), 1, sharex=True, sharey=True), recordings)
    left.suptitle(
        f"Commanded speed of {TRACE_NAME} at {TRACE_LATENCY_MS} ms, same scene (rad/s)", fontsize=11
    )
    top, middle, bottom = right.subplots(3, 1, sharex=True)
    _draw_over_latency(top, rows, lambda row: row.completion_s)
    top.set_title("Time to put the cube into the bin (s)", fontsize=11)
    top.legend(fontsize=9, ncols=2)
    _draw_over_latency(middle, rows, lambda row: row.boundary_jump_p95_rad * 1e3)
    middle.set_title("Jump at a boundary, 95th percentile (mrad a tick)", fontsize=11)
    middle.axhline(GOAL_JUMP_RAD * 1e3, color="black", linewidth=0.8, linestyle="--")
    _draw_over_latency(bottom, rows, lambda row: row.jerk_rms)
    bottom.set_title("RMS jerk of the commands (rad/s³)", fontsize=11)
    bottom.set_xlabel("latency of the policy (ms)")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _draw_traces(panels: Sequence[Axes], recordings: Sequence[Recording]) -> None:
    chosen = {
        recording.case.strategy.name: recording
        for recording in recordings
        if round(recording.case.latency_s * 1e3) == TRACE_LATENCY_MS
    }
    for axes, name in zip(panels, SHOWN, strict=True):
        axes.axhline(0.0, color="#cccccc", linewidth=0.8)
        axes.set_title(name, fontsize=9, loc="left", pad=2)
        axes.spines[["top", "right"]].set_visible(False)
        recording = chosen.get(name)
        if recording is None or len(recording.commands) < 2:
            continue
        speed = np.diff(recording.commands[:, TRACE_JOINT]) / PERIOD_S
        axes.plot(np.arange(len(speed)) * PERIOD_S, speed, color=COLOURS[name], linewidth=1.3)
        for tick in recording.switches:
            axes.axvline(tick * PERIOD_S, color="#999999", linewidth=0.6, linestyle=":")
    panels[-1].set_xlabel("time since the first command (s); dotted: a new chunk takes over")


def _draw_over_latency(
    axes: Axes, rows: Sequence[Row], value: Callable[[Row], float | None]
) -> None:
    for name in SHOWN:
        points = [(row.latency_ms, value(row)) for row in rows if row.strategy == name]
        known = [(latency, y) for latency, y in points if y is not None]
        width = 2.6 if name == "async+offset_fade" else 1.4
        axes.plot(*zip(*known, strict=True), "o-", color=COLOURS[name], label=name, linewidth=width)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
