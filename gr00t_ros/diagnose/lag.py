# SPDX-License-Identifier: Apache-2.0
"""How long one motion comes after another, by cross-correlation of their velocities. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gr00t_ros.diagnose.run import NAN, Series, Vector

MAX_LAG_S, MAX_LEAD_S = 0.6, 0.2
MIN_GRID_S, MAX_GRID_S = 0.002, 0.02
SMOOTHED_S = 0.06  # commands have no stamps and arrive in bursts; both motions alike, so no lag
MAX_GAP_S = 0.25  # without a sample: nothing is interpolated across it
MIN_CORRELATION = 0.5  # below, the two do not show the same motion
MIN_MOTION = 1e-4  # rad/s or m/s, root mean square
MIN_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Lag:
    """How long a motion comes after another.

    Args:
        lag_s: The delay, s; negative where it comes first. NaN where the motions are too small or
            do not resemble each other.
        correlation: Of the velocities at that delay, at most 1.
        resolution_s: The time between two samples, s; a peak is found to a part of it.
    """

    lag_s: float
    correlation: float
    resolution_s: float


def find_lag(reference: Series, response: Series, joint: int) -> Lag:
    """Find how long a joint's `response` comes after its `reference`.

    Args:
        reference: The motion that is first.
        response: The motion that follows it; the columns are the same.
        joint: The column of the joint.
    """
    grid = _grid(reference, response)
    if len(grid) < MIN_SAMPLES:
        return Lag(NAN, NAN, NAN)
    resolution_s = float(grid[1] - grid[0])
    first, second = _velocities(reference, joint, grid), _velocities(response, joint, grid)
    if not (_moves(first) and _moves(second)):
        return Lag(NAN, NAN, resolution_s)
    lags = np.arange(-round(MAX_LEAD_S / resolution_s), round(MAX_LAG_S / resolution_s) + 1)
    curve = np.array([_correlation(first, second, int(lag)) for lag in lags])
    best = int(np.argmax(curve))
    if not curve[best] >= MIN_CORRELATION:
        return Lag(NAN, float(curve[best]), resolution_s)
    lag_s = float((lags[best] + _peak_offset(curve, best)) * resolution_s)
    return Lag(lag_s, float(curve[best]), resolution_s)


def find_lags(reference: Series, response: Series) -> tuple[Lag, ...]:
    """Find how long each joint of `response` comes after `reference`."""
    return tuple(find_lag(reference, response, j) for j in range(reference.values.shape[1]))


def median_lag_s(lags: Sequence[Lag]) -> float:
    """The median over the joints whose lag is known, s; NaN if none is."""
    known = [lag.lag_s for lag in lags if not np.isnan(lag.lag_s)]
    return float(np.median(known)) if known else NAN


def _grid(reference: Series, response: Series) -> Vector:
    """Instants at which both can be compared, evenly."""
    if min(len(reference), len(response)) < MIN_SAMPLES:
        return np.empty(0)
    periods = [float(np.mean(np.diff(series.times_s))) for series in (reference, response)]
    step_s = min(max(min(periods), MIN_GRID_S), MAX_GRID_S)
    begin_s = max(reference.times_s[0], response.times_s[0])
    end_s = min(reference.times_s[-1], response.times_s[-1])
    return np.arange(begin_s, end_s, step_s)


def _velocities(series: Series, column: int, grid: Vector) -> Vector:
    """Velocities on the grid, float64 (len(grid) - 1,); NaN in gaps."""
    times_s, values = series.times_s, series.values[:, column]
    on_grid = np.interp(grid, times_s, values)
    following = np.clip(np.searchsorted(times_s, grid), 1, len(times_s) - 1)
    on_grid[times_s[following] - times_s[following - 1] > MAX_GAP_S] = np.nan
    width = max(1, round(SMOOTHED_S / (grid[1] - grid[0])))
    smooth = np.convolve(on_grid, np.full(width, 1.0 / width), mode="same")
    smooth[:width] = smooth[-width:] = np.nan  # there, the window reaches beyond the ends
    velocities: Vector = np.diff(smooth) / (grid[1] - grid[0])
    return velocities


def _moves(velocities: Vector) -> bool:
    known = velocities[~np.isnan(velocities)]
    return len(known) >= MIN_SAMPLES and float(np.sqrt(np.mean(known**2))) > MIN_MOTION


def _correlation(first: Vector, second: Vector, lag: int) -> float:
    """The correlation of the second motion with the first, `lag` samples before; 0 if unknown."""
    count = len(first) - abs(lag)
    early, late = first[max(0, -lag) :][:count], second[max(0, lag) :][:count]
    known = ~(np.isnan(early) | np.isnan(late))
    if known.sum() < MIN_SAMPLES:
        return 0.0
    early, late = early[known], late[known]
    power = float(np.sum(early**2) * np.sum(late**2))
    return float(np.sum(early * late) / np.sqrt(power)) if power > 0.0 else 0.0


def _peak_offset(curve: Vector, best: int) -> float:
    """Where the peak lies between samples, by a parabola through three of them, -0.5 to 0.5."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    before, at, after = curve[best - 1 : best + 2]
    bend = before - 2.0 * at + after
    return float(0.5 * (before - after) / bend) if bend < 0.0 else 0.0
