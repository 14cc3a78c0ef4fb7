# SPDX-License-Identifier: Apache-2.0
"""The latency budget: from the camera to the motion of the joint. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gr00t_ros.diagnose.lag import Lag, find_lags, median_lag_s
from gr00t_ros.diagnose.run import NAN, Run, RunChunk, Series, Vector


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """One part of the way from the camera to the motion.

    Args:
        name: What takes the time.
        p50_s: Median, s; NaN if it is not known.
        p99_s: 99th percentile, s; NaN if it is not known.
        how: How it was measured.
    """

    name: str
    p50_s: float
    p99_s: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBudget:
    """Where the time goes.

    Args:
        parts: The parts that add up to the whole.
        arrival: From the observation's stamp to the arrival of its chunk: the first three parts.
        skew: How far the cameras' newest images are apart at an observation; a part of the age.
        round_trip: Network and model together.
        controller_lags: How long each joint comes after its command.
        total_s: The medians of arrival, blending and controller together, as far as they are
            known, s.
    """

    parts: tuple[LatencyPart, ...]
    arrival: LatencyPart
    skew: LatencyPart
    round_trip: LatencyPart
    controller_lags: tuple[Lag, ...]
    total_s: float

    def part(self, name: str) -> LatencyPart:
        """A part by its name."""
        return next(part for part in self.parts if part.name == name)


OBSERVATION, NETWORK, MODEL = "observation age", "network", "model"
BLENDING, CONTROLLER = "blending and limits", "controller"


def measure_latency(run: Run) -> LatencyBudget:
    """Measure the parts of the latency; what the run does not tell is NaN."""
    trips_s = np.array([chunk.round_trip_s for chunk in run.chunks])
    ages_s = np.array([c.received_s - c.round_trip_s - c.t0_s for c in run.chunks])
    trip_p50_s, trip_p99_s = _percentiles(trips_s)
    model_p50_s, model_p99_s = _percentiles(run.policy_times_s)
    network_p50_s = trip_p50_s - model_p50_s
    how = "chunks: from sending the observation to the answer"
    blending_s = median_lag_s(find_lags(chunk_path(run), run.commands))
    controller_lags = find_lags(run.commands, run.measured)
    controller_s = median_lag_s(controller_lags)
    parts = (
        _part(OBSERVATION, ages_s, "chunks: from the observation's stamp to its sending"),
        LatencyPart(NETWORK, network_p50_s, NAN, "round trip less model"),
        LatencyPart(MODEL, model_p50_s, model_p99_s, "the policy's own report"),
        LatencyPart(
            BLENDING,
            blending_s,
            NAN,
            "cross-correlation of chunk and command, median joint",
        ),
        LatencyPart(
            CONTROLLER,
            controller_s,
            NAN,
            "cross-correlation of command and robot, median joint",
        ),
    )
    arrivals_s = np.array([chunk.received_s - chunk.t0_s for chunk in run.chunks])
    arrival = _part("until the chunk arrives", arrivals_s, "chunks: from the observation's stamp")
    return LatencyBudget(
        parts=parts,
        arrival=arrival,
        skew=_part("camera skew", _skews_s(run), "stamps of the images next to each observation"),
        round_trip=LatencyPart("round trip", trip_p50_s, trip_p99_s, how),
        controller_lags=controller_lags,
        total_s=float(np.nansum([arrival.p50_s, blending_s, controller_s])),
    )


def chunk_path(run: Run) -> Series:
    """Where the newest chunk wants the joints at each command; NaN where there is none.

    The first instant after a change of chunks is NaN: the path jumps there and no joint moves so.
    """
    times_s = run.commands.times_s
    values = np.full((len(times_s), len(run.joints)), np.nan)
    chunks = run.played
    newest = newest_chunks(chunks, times_s)
    for number in np.unique(newest[newest >= 0]):
        values[newest == number] = chunks[number].at(times_s[newest == number])
    values[1:][np.diff(newest) != 0] = np.nan
    return Series(times_s, values)


def newest_chunks(chunks: Sequence[RunChunk], times_s: Vector) -> np.ndarray:
    """The place of the newest chunk at each instant, int (N,); -1 before the first."""
    received_s = np.array([chunk.received_s for chunk in chunks])
    return np.searchsorted(received_s, times_s, side="right") - 1


def _skews_s(run: Run) -> Vector:
    """The distance of the cameras' images next to each observation, (N,) s."""
    cameras = [t.stamps_s for t in run.topics if t.is_camera and len(t.stamps_s) > 1]
    if len(cameras) < 2:
        return np.empty(0)
    skews_s = []
    for chunk in run.chunks:
        nearest = [stamps[np.argmin(np.abs(stamps - chunk.t0_s))] for stamps in cameras]
        skews_s.append(max(nearest) - min(nearest))
    return np.array(skews_s)


def _part(name: str, values_s: Vector, how: str) -> LatencyPart:
    return LatencyPart(name, *_percentiles(values_s), how)


def _percentiles(values_s: Vector) -> tuple[float, float]:
    known = values_s[np.isfinite(values_s)]
    if not len(known):
        return NAN, NAN
    p50_s, p99_s = np.percentile(known, [50, 99])
    return float(p50_s), float(p99_s)
