# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: where the robot shall be at this instant.

Step i of a chunk belongs to ``t0 + i * dt``, where t0 is the stamp of the observation that the
chunk was computed from: a step whose time has passed is never played, however late the chunk came.
Time that the robot spent holding, lost by slowing down towards the end of a chunk, or stood because
no command went out, does not pass for the next one: a robot that has not moved since the
observation begins at the first step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk, RampLimits, plan_active_chunk
from gr00t_policy_core.control.blend import OffsetBlend, plan_offset_blend
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.playback_clock import CLOCK_JUMP_NS

# The slope of the path is taken over this time, ns.
SLOPE_NS = 1_000_000
# Chunks that ensemble keeps at most; the oldest go.
MAX_CHUNKS = 64
# Stalls that are remembered: a chunk observed before so many of them starts a little too late.
MAX_STALLS = 256


class BlendMode(Enum):
    """How one chunk goes over into the next."""

    REPLACE = "replace"
    """The newest chunk, from the instant that it comes."""

    OFFSET_FADE = "offset_fade"
    """The newest chunk, plus the distance and speed that it differed by, faded out."""

    ENSEMBLE = "ensemble"
    """The mean of all chunks that cover the instant, as in ACT (Zhao et al., RSS 2023)."""

    RTC = "rtc"
    """The policy continued the present chunk itself (real-time chunking); what is left is faded."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How chunks are played.

    Args:
        blend: How one chunk goes over into the next.
        blend_s: How long a difference is faded out for, s; longer where that would be rough.
        cubic: Between steps along cubics (Catmull-Rom) instead of straight lines.
        ensemble_decay: ACT's m: the i-th oldest chunk weighs ``exp(-m * i)``.
    """

    blend: BlendMode = BlendMode.OFFSET_FADE
    blend_s: float = 0.3
    cubic: bool = False
    ensemble_decay: float = 0.01


@dataclass(frozen=True, slots=True)
class HandoverState:
    """Where the commands are at an instant, and `SLOPE_NS` later; float64 (size,) each."""

    here: Row
    soon: Row


@dataclass(frozen=True, slots=True)
class ChunkProgress:
    """How far the newest chunk is played. `chunk_id` 0: none; `steps_left` lie ahead."""

    chunk_id: int = 0
    steps_left: int = 0
    observed_ns: int | None = field(default=None)


class ChunkSchedule:
    """The path through all chunks, and where it ends.

    Args:
        layout: Keys and dimensions of every chunk.
        settings: How chunks are played.
        ramp_limits: How much acceleration slowing down and fading may add; any, by default.
    """

    def __init__(
        self,
        layout: ActionLayout,
        settings: ScheduleSettings | None = None,
        ramp_limits: RampLimits | None = None,
    ) -> None:
        self._layout = layout
        self._settings = settings or ScheduleSettings()
        self.ramp_limits = ramp_limits or RampLimits.none(layout.size)
        self._playing: list[ActiveChunk] = []
        self._fade: OffsetBlend | None = None
        self._ended: ActiveChunk | None = None  # what was played to its end before the present hold
        self._held: Row | None = None
        self._held_since_ns: int | None = None
        self._last_now_ns: int | None = None
        self._newest_t0_ns: int | None = None
        self._chunk_jump = 0.0
        self._interruption = ""
        self._stalls: deque[tuple[int, int]] = deque(maxlen=MAX_STALLS)  # their end and length, ns

    @property
    def is_playing(self) -> bool:
        """Whether a chunk covers the present, as of the last call."""
        return bool(self._playing)

    @property
    def chunk_jump(self) -> float:
        """How far the newest chunk was from the path when it came, largest value, rad or m."""
        return self._chunk_jump

    @property
    def interruption(self) -> str:
        """Why the newest chunk was broken off before its end; empty where it was not."""
        return self._interruption

    def offer(self, chunk: Chunk, now_ns: int, handover: HandoverState | None = None) -> None:
        """Take a chunk as the newest.

        Args:
            chunk: Its keys and dimensions must be those of the layout.
            now_ns: The present, on the clock of the observation stamps, ns.
            handover: Where the commands really are; on the path, by default.

        Raises:
            ChunkRefusedError: All of its steps have passed, it is older than the newest, or its
                keys or dimensions differ. What is played goes on.
        """
        self.take(self.plan(chunk, now_ns), now_ns, handover)

    def take(
        self, playing: ActiveChunk, now_ns: int, handover: HandoverState | None = None
    ) -> None:
        """Play what `plan` has made of a chunk at the same instant; as `offer` otherwise."""
        handover = handover or self.handover(now_ns)
        self._fade = None
        is_ensemble = self._settings.blend is BlendMode.ENSEMBLE
        self._playing = [*(self._playing if is_ensemble else []), playing][-MAX_CHUNKS:]
        if handover is not None:
            self._begin_fade(handover, now_ns)
        self._held_since_ns = None
        self._newest_t0_ns = playing.chunk.t0_ns
        self._interruption = ""

    def plan(self, chunk: Chunk, now_ns: int) -> ActiveChunk:
        """A chunk as it would be played from now on.

        Raises:
            ChunkRefusedError: As `offer`.
        """
        self.advance(now_ns)
        self._require_layout(chunk)
        self._require_newest(chunk)
        planned = plan_active_chunk(
            chunk,
            self._layout,
            self.ramp_limits,
            start_ns=chunk.t0_ns + self._stood_ns(chunk.t0_ns, now_ns),
            now_ns=now_ns,
            from_rest=not self._playing,
        )
        _require_steps_ahead(planned, now_ns)
        return planned

    def entry(self, playing: ActiveChunk, now_ns: int) -> Row:
        """Where a chunk would be entered that was planned for this instant, float64 (size,)."""
        return self._sampled(playing, now_ns)

    def handover(self, now_ns: int) -> HandoverState | None:
        """Where the path is and goes at an instant; None before the first chunk."""
        here, soon = self.path(now_ns), self.path(now_ns + SLOPE_NS)
        return (
            None if here is None or soon is None else HandoverState(np.array(here), np.array(soon))
        )

    def advance(self, now_ns: int) -> None:
        """Let time pass: chunks that are used up end, and the path holds where they ended."""
        last_ns = self._last_now_ns
        self._last_now_ns = now_ns
        if last_ns is not None and now_ns < last_ns - CLOCK_JUMP_NS:
            self.set_back(now_ns, last_ns - now_ns)
        if self._playing and now_ns >= self._end_ns:
            ended = self._playing[-1]
            self.hold(self._end_ns)
            self._ended = ended
        if len(self._playing) > 1:
            *older, newest = self._playing
            self._playing = [*(one for one in older if now_ns < one.last_ns), newest]

    def set_back(self, now_ns: int, by_ns: int) -> None:
        """Say that the clock was set back: the stamps of what is played mean nothing any more.

        Args:
            now_ns: The present by the new time, ns.
            by_ns: How far it was set back, ns.
        """
        self._break_off(now_ns + by_ns, f"the clock was set back by {by_ns * 1e-9:.2f} s")
        self._held_since_ns, self._newest_t0_ns, self._ended = now_ns, None, None
        self._stalls.clear()
        self._last_now_ns = now_ns

    def delay(self, now_ns: int, stalled_ns: int) -> None:
        """Say that time has passed without a command: what is played goes on where it was.

        Args:
            now_ns: The end of that time, ns.
            stalled_ns: Its length, ns; negative where the clock was set back a little.
        """
        if self._last_now_ns is not None:
            self._last_now_ns += stalled_ns
        if not self._playing:
            return
        self._stalls.append((now_ns, stalled_ns))
        self._playing = [one.delayed(stalled_ns) for one in self._playing]
        if self._fade is not None:
            self._fade = replace(self._fade, since_ns=self._fade.since_ns + stalled_ns)

    def path(self, now_ns: int) -> Row | None:
        """Where the robot shall be at an instant near the present, float64 (size,).

        The place of the hold where nothing is played, None before the first chunk.
        """
        if not self._playing:
            return self._held
        if self._settings.blend is BlendMode.ENSEMBLE:
            return self._ensemble(now_ns)
        newest = self._sampled(self._playing[-1], now_ns)
        fade = self._fade.at(now_ns) if self._fade is not None else None
        return newest if fade is None else self._layout.moved(newest, fade)

    def path_by_ticks(self, now_ns: int, period_ns: int) -> Callable[[int], Row]:
        """The path while a chunk is played, so many ticks from an instant; computed once each."""

        @cache
        def path(ticks: int) -> Row:
            row = self.path(now_ns + ticks * period_ns)
            return path(0) if row is None else row

        return path

    def progress(self, now_ns: int) -> ChunkProgress:
        """How far the newest chunk is played."""
        if not self._playing:
            return ChunkProgress()
        newest = self._playing[-1]
        left = len(newest.rows) - 1 - math.floor(newest.steps_at(now_ns))
        return ChunkProgress(newest.chunk.chunk_id, left, newest.chunk.t0_ns)

    def hold(self, now_ns: int, position: Row | None = None) -> None:
        """Play no more: from this instant on the robot stays.

        Args:
            now_ns: The present, ns.
            position: Where it stays, float64 (size,); where the path is, by default.
        """
        place = self.path(now_ns) if position is None else position
        if self._playing:
            self._ended = None
        self._playing, self._fade = [], None
        self._held = place
        if self._held_since_ns is None:
            self._held_since_ns = now_ns

    def rest(self, since_ns: int) -> None:
        """Say that the robot, which has no path yet, has not moved since an instant, ns."""
        if not self._playing and self._held_since_ns is None:
            self._held_since_ns = since_ns

    def _break_off(self, now_ns: int, reason: str) -> None:
        if self._playing:
            self._interruption = reason
        self.hold(now_ns)

    @property
    def _end_ns(self) -> int:
        """When the newest chunk, and the fade into it, have been played to their end, ns."""
        end_ns = self._playing[-1].end_ns
        return end_ns if self._fade is None else max(end_ns, self._fade.end_ns)

    def _stood_ns(self, since_ns: int, now_ns: int) -> int:
        """How much of the time since an instant did not pass for the robot, ns."""
        played = self._playing[-1] if self._playing else self._ended
        if played is not None:
            stalled_ns = sum(length_ns for end_ns, length_ns in self._stalls if end_ns > since_ns)
            # What is played was moved by the stalls, and so is the instant on its axis.
            lag_s = played.lag_s(now_ns) - played.lag_s(since_ns + stalled_ns)
            return max(0, stalled_ns + round(lag_s * 1e9))
        if self._held_since_ns is None:
            return 0
        return max(0, now_ns - max(since_ns, self._held_since_ns))

    def _begin_fade(self, handover: HandoverState, now_ns: int) -> None:
        newest = self._playing[-1]
        origin, origin_soon = (
            self._sampled(newest, at_ns) for at_ns in (now_ns, now_ns + SLOPE_NS)
        )
        offset = self._layout.offset(handover.here, origin)
        self._chunk_jump = float(np.max(np.abs(offset)))
        blend_s = self._settings.blend_s
        if self._settings.blend not in (BlendMode.OFFSET_FADE, BlendMode.RTC) or not blend_s:
            return
        offset_soon = self._layout.offset(handover.soon, origin_soon, near=offset)
        rate = (offset_soon - offset) / (SLOPE_NS * 1e-9)
        self._fade = plan_offset_blend(
            now_ns, offset, rate, blend_s=blend_s, ramp_limits=self.ramp_limits
        )

    def _ensemble(self, now_ns: int) -> Row:
        *older, newest = self._playing
        # Only the newest comes to an end: the others are left before they slow down.
        covering = [replace(one, ramp_down_s=0.0) for one in older if now_ns < one.last_ns]
        samples = np.stack([self._sampled(playing, now_ns) for playing in [*covering, newest]])
        weights = np.exp(-self._settings.ensemble_decay * np.arange(len(samples)))
        return self._layout.mean(samples, weights)

    def _sampled(self, playing: ActiveChunk, now_ns: int) -> Row:
        vector = self._at_steps(playing.rows, playing.steps_at(now_ns))
        vector[self._layout.is_velocity] *= playing.rate_at(now_ns)
        return vector

    def _at_steps(self, rows: Row, position: float) -> Row:
        step = min(int(position), len(rows) - 1)
        share = position - step
        if not share:
            return np.array(rows[step])
        vector = self._layout.between(rows[step], rows[step + 1], share)
        if self._settings.cubic:
            rotations = [vector[part] for part in self._layout.rotations]
            vector = _catmull_rom(rows, step, share)
            for part, turned in zip(self._layout.rotations, rotations, strict=True):
                vector[part] = turned
        return vector

    def _require_newest(self, chunk: Chunk) -> None:
        if self._newest_t0_ns is not None and chunk.t0_ns < self._newest_t0_ns:
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} is of an older observation than the one before"
            )

    def _require_layout(self, chunk: Chunk) -> None:
        came = {key: rows.shape[1] for key, rows in chunk.actions.items()}
        if came != self._layout.dimensions:
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} has keys and dimensions {came}, "
                f"expected {self._layout.dimensions}"
            )


def _require_steps_ahead(playing: ActiveChunk, now_ns: int) -> None:
    chunk = playing.chunk
    if now_ns < playing.last_ns or (chunk.horizon == 1 and now_ns == playing.last_ns):
        return
    old_s, lasts_s = (now_ns - chunk.t0_ns) * 1e-9, (chunk.end_ns - chunk.t0_ns) * 1e-9
    raise ChunkRefusedError(
        f"chunk {chunk.chunk_id} came {old_s:.3f} s after its observation: no step is left of its "
        f"{lasts_s:.3f} s; the policy is slower than its chunks are long (inference: sync waits "
        "for it), or clocks differ"
    )


def _catmull_rom(rows: Row, step: int, share: float) -> Row:
    """The cubic from step to step + 1 with the slopes of their neighbours, one-sided at ends."""
    before, after = rows[max(step - 1, 0)], rows[min(step + 2, len(rows) - 1)]
    start, end = rows[step], rows[step + 1]
    slope_in, slope_out = (end - before) / 2, (after - start) / 2
    if step == 0:
        slope_in = end - start
    if step + 2 >= len(rows):
        slope_out = end - start
    s2, s3 = share * share, share**3
    return np.asarray(
        (2 * s3 - 3 * s2 + 1) * start
        + (s3 - 2 * s2 + share) * slope_in
        + (3 * s2 - 2 * s3) * end
        + (s3 - s2) * slope_out
    )
