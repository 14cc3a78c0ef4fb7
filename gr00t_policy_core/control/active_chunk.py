# SPDX-License-Identifier: Apache-2.0
"""A chunk on the axis of time, and how it is brought to rest, and set going from there.

A chunk that ends in motion would overshoot its last step. Towards its end it is therefore played
slower and slower, along its own path, and stands still when its last step is reached: for D s of
path before the end it takes 2 D s. A chunk that begins in motion while the robot stands is set
going in the same way. The rate changes along a smooth step: neither velocity nor acceleration
jumps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, Row

# Of the smooth step 3 x^2 - 2 x^3: its steepest slope and bend, and its mean.
_STEEPEST, _SHARPEST, _MEAN = 1.5, 6.0, 0.5
MIN_PEAK = 0.1  # no chunk is played more slowly than this


@dataclass(frozen=True, slots=True)
class RampLimits:
    """How much acceleration and jerk the schedule adds by itself, where it slows down and fades.

    Args:
        acceleration: float64 (size,), rad/s^2 (or m/s^2); of a velocity its rate of change.
            Infinite where it does not matter.
        jerk: float64 (size,), the same per s.
    """

    acceleration: Row
    jerk: Row

    @classmethod
    def none(cls, size: int) -> RampLimits:
        """What is added does not matter."""
        return cls(np.full(size, np.inf), np.full(size, np.inf))


@dataclass(frozen=True, slots=True)
class ActiveChunk:
    """A chunk being played.

    Args:
        chunk: What is played.
        rows: Its steps, float64 (horizon, size).
        start_ns: The instant that its first step belongs to, ns.
        entered_ns: The instant from which on it is set going, ns; of meaning with `ramp_up_s`.
        ramp_up_s: It is set going over so much of its path, s; 0 where the robot moves already.
        ramp_down_s: It slows down over so much of its path before its end, s.
        peak: Its highest rate. Below 1 where all of it is starting and slowing down.
    """

    chunk: Chunk
    rows: Row
    start_ns: int
    entered_ns: int
    ramp_up_s: float
    ramp_down_s: float
    peak: float

    @property
    def last_ns(self) -> int:
        """The instant of the last step, if the chunk did not slow down towards it, ns."""
        behind_s = (2.0 / self.peak - 1.0) * self.ramp_up_s
        return self.start_ns + self.chunk.end_ns - self.chunk.t0_ns + round(behind_s * 1e9)

    @property
    def end_ns(self) -> int:
        """The instant at which it rests at its last step, ns."""
        return self.last_ns + round((2.0 / self.peak - 1.0) * self.ramp_down_s * 1e9)

    def delayed(self, by_ns: int) -> ActiveChunk:
        """The same, so much later, ns."""
        return replace(self, start_ns=self.start_ns + by_ns, entered_ns=self.entered_ns + by_ns)

    def steps_at(self, now_ns: int) -> float:
        """How far it is played at an instant, in steps, from 0 to the last."""
        steps = self._played_s(now_ns) / self.chunk.dt_s
        return min(max(steps, 0.0), float(len(self.rows) - 1))

    def rate_at(self, now_ns: int) -> float:
        """How fast it is played at an instant: 0 at a standstill, 1 in between."""
        if now_ns >= self.end_ns:
            return 0.0
        started, slowed = self._started(now_ns), self._slowed(now_ns)
        return self.peak * (_smooth_step(started) - _smooth_step(slowed))

    def lag_s(self, now_ns: int) -> float:
        """How far it has fallen behind its own time by starting, slowing down and resting, s."""
        return max(0.0, (now_ns - self.start_ns) * 1e-9 - self._played_s(now_ns))

    def _played_s(self, now_ns: int) -> float:
        lasts_s = (len(self.rows) - 1) * self.chunk.dt_s
        if now_ns >= self.end_ns:
            return lasts_s
        started, slowed = self._started(now_ns), self._slowed(now_ns)
        if slowed > 0.0:
            slow = slowed - _smooth_step_integral(slowed)
            return lasts_s - self.ramp_down_s + 2.0 * self.ramp_down_s * slow
        if started < 1.0:
            entry_s = (self.entered_ns - self.start_ns) * 1e-9
            return entry_s + 2.0 * self.ramp_up_s * _smooth_step_integral(max(started, 0.0))
        return lasts_s - (self.last_ns - now_ns) * 1e-9

    def _started(self, now_ns: int) -> float:
        """The share of starting that is over."""
        if self.ramp_up_s <= 0.0:
            return 1.0
        since_s = (now_ns - self.entered_ns) * 1e-9
        return min(max(since_s * self.peak / (2.0 * self.ramp_up_s), 0.0), 1.0)

    def _slowed(self, now_ns: int) -> float:
        """The share of slowing down that is over."""
        if self.ramp_down_s <= 0.0:
            return 0.0
        since_s = (now_ns - self.last_ns) * 1e-9 + self.ramp_down_s
        return min(max(since_s * self.peak / (2.0 * self.ramp_down_s), 0.0), 1.0)


def plan_active_chunk(
    chunk: Chunk,
    layout: ActionLayout,
    ramp_limits: RampLimits,
    *,
    start_ns: int,
    now_ns: int,
    from_rest: bool,
) -> ActiveChunk:
    """A chunk as it is to be played from now on.

    Args:
        chunk: What is played.
        layout: Of its keys.
        ramp_limits: How much of its starting and slowing down may be felt.
        start_ns: The instant that its first step belongs to, ns.
        now_ns: The present, ns.
        from_rest: The robot stands: the chunk is set going.
    """
    rows = layout.rows(chunk)
    entered_ns = max(now_ns, start_ns)
    ramp_down_s = _ramp_s(pairwise(rows[::-1]), chunk.dt_s, layout, ramp_limits)
    if not from_rest:
        ramp_down_s = min(ramp_down_s, (len(rows) - 1) * chunk.dt_s)
        return ActiveChunk(chunk, rows, start_ns, entered_ns, 0.0, ramp_down_s, 1.0)
    entry_s = (entered_ns - start_ns) * 1e-9
    ahead = rows[int(entry_s / chunk.dt_s) :]
    ramp_up_s = _ramp_s(pairwise(ahead), chunk.dt_s, layout, ramp_limits)
    left_s = max(0.0, (len(rows) - 1) * chunk.dt_s - entry_s)
    needed_s = ramp_up_s + ramp_down_s
    if needed_s <= left_s:
        return ActiveChunk(chunk, rows, start_ns, entered_ns, ramp_up_s, ramp_down_s, 1.0)
    # A ramp to a part of the rate takes less of the path: by the square of that part where the
    # acceleration decides, by its power of 1.5 where the jerk does.
    share = left_s / needed_s
    peak = max(share ** (2.0 / 3.0), MIN_PEAK)
    return ActiveChunk(
        chunk, rows, start_ns, entered_ns, share * ramp_up_s, share * ramp_down_s, peak
    )


def _ramp_s(
    steps: Iterable[tuple[Row, Row]], dt_s: float, layout: ActionLayout, ramp_limits: RampLimits
) -> float:
    """How much of a path a ramp of its rate takes, s: as gentle as asked for.

    More than there is where the path is too short for that.

    Args:
        steps: The path from its end at rest on, as pairs of vectors `dt_s` apart.
        dt_s: s.
        layout: Of the vectors.
        ramp_limits: How much of the ramp may be felt.
    """
    fastest = np.zeros(layout.size)
    way_s = needed_s = 0.0
    for origin, to in steps:
        way_s += dt_s
        fastest = np.maximum(fastest, layout.speed(origin, to, dt_s))
        by_acceleration_s = _STEEPEST * fastest / ramp_limits.acceleration
        by_jerk_s = np.sqrt(_SHARPEST * fastest / ramp_limits.jerk)
        needed_s = _MEAN * float(np.maximum(by_acceleration_s, by_jerk_s).max())
        if needed_s <= way_s:
            break
    return needed_s


def _smooth_step(share: float) -> float:
    return (3.0 - 2.0 * share) * share * share


def _smooth_step_integral(share: float) -> float:
    return (1.0 - _MEAN * share) * share**3
