# SPDX-License-Identifier: Apache-2.0
"""A chunk on the axis of time, with the ramps that set it going and bring it to rest.

A chunk that ends in motion would overshoot its last step. Towards its end it is therefore played
slower and slower, along its own path, and stands still when its last step is reached: for D s of
path before the end it takes 2 D s. A chunk that begins in motion while the robot stands is set
going in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_policy_core.control.ramp import RampLimits, ramp_s, smooth_step, smooth_step_integral

MIN_PEAK_RATE = 0.1  # lowest peak rate of a chunk


@dataclass(frozen=True, slots=True)
class ChunkProgress:
    """The progress of the newest chunk.

    Args:
        chunk_id: Number of the chunk; 0 if no chunk is played.
        steps_left: Steps that still lie ahead.
        observed_ns: Stamp of the observation behind it, ns; None where no chunk is played.
    """

    chunk_id: int = 0
    steps_left: int = 0
    observed_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ActiveChunk:
    """A chunk that is played.

    Its rate is how fast its own time passes: 1 in between, less on the ramps.

    Args:
        chunk: The chunk as the policy answered it.
        rows: Its steps, float64 (horizon, size).
        start_ns: The instant that its first step belongs to, ns.
        entered_ns: The instant at which the ramp up begins, ns; used with `ramp_up_s` only.
        ramp_up_s: How much of its path the ramp up takes, s; 0 where the robot moves already.
        ramp_down_s: How much of its path before the end the ramp down takes, s.
        peak_rate: Its highest rate. Below 1 where the ramps take all of the path.
    """

    chunk: Chunk
    rows: Row
    start_ns: int
    entered_ns: int
    ramp_up_s: float
    ramp_down_s: float
    peak_rate: float

    @property
    def last_ns(self) -> int:
        """The instant of the last step, if the chunk did not slow down towards it, ns."""
        behind_s = (2.0 / self.peak_rate - 1.0) * self.ramp_up_s
        return self.start_ns + self.chunk.end_ns - self.chunk.t0_ns + round(behind_s * 1e9)

    @property
    def end_ns(self) -> int:
        """The instant at which it rests at its last step, ns."""
        return self.last_ns + round((2.0 / self.peak_rate - 1.0) * self.ramp_down_s * 1e9)

    def delayed(self, by_ns: int) -> ActiveChunk:
        """Return the same chunk, shifted later by `by_ns`."""
        return replace(self, start_ns=self.start_ns + by_ns, entered_ns=self.entered_ns + by_ns)

    def without_ramp_down(self) -> ActiveChunk:
        """Return the chunk at full rate up to its last step: another one takes over before that."""
        return replace(self, ramp_down_s=0.0)

    def steps_at(self, now_ns: int) -> float:
        """How far it is played at an instant, in steps, from 0 to the last."""
        steps = self._played_s(now_ns) / self.chunk.dt_s
        return min(max(steps, 0.0), float(len(self.rows) - 1))

    def progress(self, now_ns: int) -> ChunkProgress:
        """How far it is played at an instant, ns."""
        left = len(self.rows) - 1 - math.floor(self.steps_at(now_ns))
        return ChunkProgress(self.chunk.chunk_id, left, self.chunk.t0_ns)

    def rate_at(self, now_ns: int) -> float:
        """How fast it is played at an instant: 0 at a standstill, 1 in between."""
        if now_ns >= self.end_ns:
            return 0.0
        started, slowed = self._ramp_up_share(now_ns), self._ramp_down_share(now_ns)
        return self.peak_rate * (smooth_step(started) - smooth_step(slowed))

    def lag_s(self, now_ns: int) -> float:
        """How far it has fallen behind its own time by its ramps and by resting, s."""
        return max(0.0, (now_ns - self.start_ns) * 1e-9 - self._played_s(now_ns))

    def _played_s(self, now_ns: int) -> float:
        duration_s = (len(self.rows) - 1) * self.chunk.dt_s
        if now_ns >= self.end_ns:
            return duration_s
        started, slowed = self._ramp_up_share(now_ns), self._ramp_down_share(now_ns)
        if slowed > 0.0:
            slow = slowed - smooth_step_integral(slowed)
            return duration_s - self.ramp_down_s + 2.0 * self.ramp_down_s * slow
        if started < 1.0:
            entry_s = (self.entered_ns - self.start_ns) * 1e-9
            return entry_s + 2.0 * self.ramp_up_s * smooth_step_integral(max(started, 0.0))
        return duration_s - (self.last_ns - now_ns) * 1e-9

    def _ramp_up_share(self, now_ns: int) -> float:
        """The share of the ramp up that is over."""
        if self.ramp_up_s <= 0.0:
            return 1.0
        since_s = (now_ns - self.entered_ns) * 1e-9
        return min(max(since_s * self.peak_rate / (2.0 * self.ramp_up_s), 0.0), 1.0)

    def _ramp_down_share(self, now_ns: int) -> float:
        """The share of the ramp down that is over."""
        if self.ramp_down_s <= 0.0:
            return 0.0
        since_s = (now_ns - self.last_ns) * 1e-9 + self.ramp_down_s
        return min(max(since_s * self.peak_rate / (2.0 * self.ramp_down_s), 0.0), 1.0)


def plan_active_chunk(
    chunk: Chunk,
    layout: ActionLayout,
    ramp_limits: RampLimits,
    *,
    start_ns: int,
    now_ns: int,
    from_rest: bool,
) -> ActiveChunk:
    """Plan how to play a chunk from now on.

    Args:
        chunk: The chunk as the policy answered it.
        layout: Says where its keys lie in a vector, and which values are rotations.
        ramp_limits: How much acceleration and jerk its ramps may add.
        start_ns: The instant that its first step belongs to, ns.
        now_ns: Playback time at which it takes over, ns.
        from_rest: Whether the robot stands still, so that the chunk needs a ramp up.
    """
    rows = layout.rows(chunk)
    entered_ns = max(now_ns, start_ns)
    down_s = ramp_s(pairwise(rows[::-1]), chunk.dt_s, layout, ramp_limits)
    if not from_rest:
        down_s = min(down_s, (len(rows) - 1) * chunk.dt_s)
        return ActiveChunk(chunk, rows, start_ns, entered_ns, 0.0, down_s, 1.0)
    entry_s = (entered_ns - start_ns) * 1e-9
    ahead = rows[int(entry_s / chunk.dt_s) :]
    up_s = ramp_s(pairwise(ahead), chunk.dt_s, layout, ramp_limits)
    left_s = max(0.0, (len(rows) - 1) * chunk.dt_s - entry_s)
    needed_s = up_s + down_s
    if needed_s <= left_s:
        return ActiveChunk(chunk, rows, start_ns, entered_ns, up_s, down_s, 1.0)
    # A ramp to a part of the rate takes less of the path: by the square of that part where the
    # acceleration decides, by its power of 1.5 where the jerk does.
    share = left_s / needed_s
    peak_rate = max(share ** (2.0 / 3.0), MIN_PEAK_RATE)
    return ActiveChunk(chunk, rows, start_ns, entered_ns, share * up_s, share * down_s, peak_rate)
