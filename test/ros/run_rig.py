# SPDX-License-Identifier: Apache-2.0
"""Runs with faults of a known size."""

from __future__ import annotations

from typing import Any

import numpy as np

from gr00t_ros.diagnose.run import Activity, Phase, Run, RunChunk, Series

T0_S = 1_700_000_000.0
JOINTS = ("shoulder", "elbow")
DT_S, HORIZON, REPLAN_S = 0.05, 16, 0.4
DURATION_S = 12.0


def path(times_s: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """Where the joints shall be, smooth, float64 (N, 2)."""
    t = times_s - T0_S
    columns = [np.sin(1.3 * t) + 0.4 * np.sin(4.1 * t + 1), 0.5 * np.cos(2.2 * t + 0.3)]
    return np.stack(columns, axis=1)


def chunks(**changes: Any) -> list[RunChunk]:
    """Chunks of the path, one every `REPLAN_S`.

    Args:
        changes: ``age_s`` of the observation at its sending, ``round_trip_s``, ``replan_s``,
            ``jump``: how far every second chunk is off, rad; ``shake``: noise within chunks, rad.
    """
    rng = np.random.default_rng(0)
    made = []
    replan_s = changes.get("replan_s", REPLAN_S)
    for number in range(int(DURATION_S / replan_s)):
        t0_s = T0_S + number * replan_s
        values = path(t0_s + DT_S * np.arange(HORIZON))
        values = values + (number % 2) * changes.get("jump", 0.0)
        values += changes.get("shake", 0.0) * rng.standard_normal(values.shape)
        trip_s = changes.get("round_trip_s", 0.06)
        made.append(
            RunChunk(
                chunk_id=number + 1,
                t0_s=t0_s,
                received_s=t0_s + changes.get("age_s", 0.03) + trip_s,
                dt_s=DT_S,
                values=values,
                round_trip_s=trip_s,
            )
        )
    return made


def run_with(**changes: Any) -> Run:
    """A run of 12 s.

    Args:
        changes: Those of `chunks`; ``blend_s`` and ``lag_s``: how long commands come after the
            chunks and the robot after the commands; ``shakes``: noise of the robot, rad; and any
            field of `Run`.
    """
    rng = np.random.default_rng(1)
    times_s = T0_S + np.arange(0.1, DURATION_S, 0.01)
    blend_s, lag_s = changes.pop("blend_s", 0.0), changes.pop("lag_s", 0.02)
    shakes = changes.pop("shakes", 0.0)
    of_chunks = ("age_s", "round_trip_s", "replan_s", "jump", "shake")
    made = chunks(**{name: changes.pop(name) for name in of_chunks if name in changes})
    measured = path(times_s - blend_s - lag_s)
    measured = measured + shakes * rng.standard_normal(measured.shape)
    playing = Phase(T0_S + 0.1, T0_S + DURATION_S, Activity.PLAYING, "")
    return Run(
        **{
            "source": "made",
            "joints": JOINTS,
            "chunks": tuple(made),
            "commands": Series(times_s, path(times_s - blend_s)),
            "measured": Series(times_s, measured),
            "phases": (playing,),
            **changes,
        }
    )
