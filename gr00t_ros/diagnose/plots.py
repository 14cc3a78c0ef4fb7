# SPDX-License-Identifier: Apache-2.0
"""The plots of a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gr00t_policy_core.html_page import subplots
from gr00t_ros.diagnose.run import Activity, Run, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_POINTS = 2000  # of a line: more than a screen has pixels
MAX_CHUNKS = 300  # drawn one by one
SHADES = {
    Activity.HOLDING: ("0.6", 0.25),
    Activity.WAITING: ("0.6", 0.12),
    Activity.INTERVENTION: ("tab:cyan", 0.2),
    Activity.ERROR: ("tab:red", 0.25),
}


def plot_joints(run: Run) -> Figure:
    """Chunks, commands and measured positions of each joint over time."""
    figure, axes = subplots(len(run.joints))
    for joint, (axis, name) in enumerate(zip(axes, run.joints, strict=True)):
        _shade(axis, run)
        _draw_chunks(axis, run, joint)
        _draw(axis, run, run.commands, joint, color="tab:orange", label="commanded")
        _draw(axis, run, run.measured, joint, color="tab:blue", label="measured")
        axis.set_ylabel(name, fontsize="small")
    for chunk in run.chunks[:MAX_CHUNKS]:
        color = "tab:red" if chunk.refused else "0.2"
        axes[0].axvline(chunk.received_s - run.begin_s, ymin=0.94, color=color, linewidth=0.8)
    handles, _ = axes[0].get_legend_handles_labels()
    if handles:
        above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
        axes[0].legend(**above, fontsize="small", ncols=3, frameon=False)
    axes[-1].set_xlabel("time [s]")
    return figure


def plot_arrivals(run: Run) -> Figure:
    """Each chunk as a bar from its observation to its end, with its arrival."""
    figure, (axis,) = subplots(1, height_in=2.5)
    chunks = run.chunks[:MAX_CHUNKS]
    for chunk in chunks:
        color = "tab:red" if chunk.refused else "tab:green"
        ends = [chunk.t0_s - run.begin_s, chunk.end_s - run.begin_s]
        axis.plot(ends, [chunk.chunk_id] * 2, color=color, linewidth=2.0, alpha=0.5)
    arrivals = [chunk.received_s - run.begin_s for chunk in chunks]
    axis.plot(arrivals, [chunk.chunk_id for chunk in chunks], ".", color="black", markersize=4)
    axis.set_ylabel("chunk")
    axis.set_xlabel("time [s]")
    return figure


def _shade(axis: Any, run: Run) -> None:
    for phase in run.phases:
        if phase.activity in SHADES:
            color, alpha = SHADES[phase.activity]
            span = (phase.begin_s - run.begin_s, phase.end_s - run.begin_s)
            axis.axvspan(*span, color=color, alpha=alpha, linewidth=0)


def _draw_chunks(axis: Any, run: Run, joint: int) -> None:
    """Each chunk from its arrival to that of the next, or to its end."""
    chunks = run.played[:MAX_CHUNKS]
    for number, chunk in enumerate(chunks):
        after_s = chunks[number + 1].received_s if number + 1 < len(chunks) else chunk.end_s
        times_s = chunk.t0_s + chunk.dt_s * np.arange(len(chunk.values))
        shown = (times_s >= chunk.received_s - chunk.dt_s) & (times_s <= after_s + chunk.dt_s)
        times_s = times_s[shown] - run.begin_s
        axis.plot(times_s, chunk.values[shown, joint], color="tab:green", linewidth=0.7, alpha=0.7)


def _draw(axis: Any, run: Run, series: Series, joint: int, *, color: str, label: str) -> None:
    if not len(series) or np.isnan(series.values[:, joint]).all():
        return
    every = max(1, len(series) // MAX_POINTS)
    times_s = series.times_s[::every] - run.begin_s
    axis.plot(times_s, series.values[::every, joint], color=color, linewidth=1.1, label=label)
