# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: where the robot shall be at this instant.

Step i of a chunk belongs to ``t0 + i * dt``, where t0 is the stamp of the observation that the
chunk was computed from: a step whose time has passed is never played, however late the chunk came.
Time that the robot spent holding does not pass for a chunk: a robot that has not moved since the
observation begins at the first step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.layout import Layout

# A clock that goes back by less is jitter between machines; by more, it was set back.
CLOCK_JUMP_NS = 500_000_000
# A chunk from further ahead than this was stamped by another clock.
MAX_FUTURE_NS = 1_000_000_000
# The slope of the path is taken over this time, s.
SLOPE_S = 1e-3
# Chunks that ensemble keeps at most; the oldest go.
MAX_CHUNKS = 64


class Seam(Enum):
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
        seam: How one chunk goes over into the next.
        fade_s: How long a difference is faded out for, s.
        cubic: Between steps along cubics (Catmull-Rom) instead of straight lines.
        ensemble_decay: ACT's m: the i-th oldest chunk weighs ``exp(-m * i)``.
    """

    seam: Seam = Seam.OFFSET_FADE
    fade_s: float = 0.3
    cubic: bool = False
    ensemble_decay: float = 0.01


@dataclass(frozen=True, slots=True)
class _Playing:
    """A chunk being played: its first step belongs to `start_ns`."""

    chunk: Chunk
    rows: Row
    start_ns: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.chunk.end_ns - self.chunk.t0_ns

    def position_at(self, now_ns: float) -> float:
        """In steps, from 0 to the last."""
        steps = (now_ns - self.start_ns) * 1e-9 / self.chunk.dt_s
        return min(max(steps, 0.0), float(len(self.rows) - 1))


@dataclass(frozen=True, slots=True)
class _Fade:
    """What is added to the newest chunk since a switch: an offset, and its rate per second."""

    since_ns: int
    offset: Row
    rate: Row

    def at(self, now_ns: float, fade_s: float) -> Row | None:
        """The cubic Hermite curve from offset and rate to zero and zero, or None past its end."""
        share = (now_ns - self.since_ns) * 1e-9 / fade_s
        if share >= 1.0:
            return None
        share = max(share, 0.0)
        kept = (2.0 * share - 3.0) * share * share + 1.0
        travelled = fade_s * share * (1.0 - share) ** 2
        return kept * self.offset + travelled * self.rate


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest chunk is played. `chunk_id` 0: none; `steps_left` lie ahead."""

    chunk_id: int = 0
    steps_left: int = 0
    observed_ns: int | None = field(default=None)


class ChunkSchedule:
    """The path through all chunks, and where it ends.

    Args:
        layout: Keys and dimensions of every chunk.
        settings: How chunks are played.
    """

    def __init__(self, layout: Layout, settings: ScheduleSettings | None = None) -> None:
        self._layout = layout
        self._settings = settings or ScheduleSettings()
        self._playing: list[_Playing] = []
        self._fade: _Fade | None = None
        self._held: Row | None = None
        self._held_since_ns: int | None = None
        self._last_now_ns: int | None = None
        self._newest_t0_ns: int | None = None
        self._last_seam_jump = 0.0
        self._interruption = ""

    @property
    def is_playing(self) -> bool:
        """Whether a chunk covers the present, as of the last call."""
        return bool(self._playing)

    @property
    def last_seam_jump(self) -> float:
        """How far the newest chunk was from the path when it came, largest value, rad or m."""
        return self._last_seam_jump

    @property
    def interruption(self) -> str:
        """Why the newest chunk was broken off before its end; empty where it was not."""
        return self._interruption

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Take a chunk as the newest.

        Args:
            chunk: Its keys and dimensions must be those of the layout.
            now_ns: The present, on the clock of the observation stamps, ns.

        Raises:
            ChunkRefusedError: All of its steps have passed, it is older than the newest, it is
                from the future, or its keys or dimensions differ. What is played goes on.
        """
        self.advance(now_ns)
        self._require_timely(chunk, now_ns)
        self._require_layout(chunk)
        playing = self._as_playing(chunk, now_ns)
        before = self.path(now_ns), self.path(now_ns + SLOPE_S * 1e9)
        self._fade = None
        is_ensemble = self._settings.seam is Seam.ENSEMBLE
        self._playing = [*(self._playing if is_ensemble else []), playing][-MAX_CHUNKS:]
        if before[0] is not None and before[1] is not None:
            self._begin_fade(before[0], before[1], now_ns)
        self._held_since_ns = None
        self._newest_t0_ns = chunk.t0_ns
        self._interruption = ""

    def entry(self, chunk: Chunk, now_ns: int) -> Row:
        """Where a chunk would be entered if it were offered now, float64 (size,).

        Raises:
            ChunkRefusedError: As `offer`.
        """
        self.advance(now_ns)
        self._require_timely(chunk, now_ns)
        self._require_layout(chunk)
        return self._sampled(self._as_playing(chunk, now_ns), now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass: chunks that are used up end, and the path holds where they ended."""
        last_ns = self._last_now_ns
        self._last_now_ns = now_ns
        if last_ns is not None and now_ns < last_ns - CLOCK_JUMP_NS:
            # The stamps of what is being played mean nothing any more.
            self._break_off(last_ns, f"the clock was set back by {(last_ns - now_ns) * 1e-9:.2f} s")
            self._held_since_ns, self._newest_t0_ns = now_ns, None
        if self._playing and now_ns >= self._playing[-1].end_ns:
            end_ns = self._playing[-1].end_ns
            if last_ns is not None and end_ns > last_ns + CLOCK_JUMP_NS:
                # The way to the last step was not commanded: no shortcut is taken to there.
                gap_s = (now_ns - last_ns) * 1e-9
                self._break_off(last_ns, f"time went on by {gap_s:.2f} s at once")
            else:
                self.hold(end_ns)
        self._playing = [playing for playing in self._playing if now_ns < playing.end_ns]

    def path(self, now_ns: float) -> Row | None:
        """Where the robot shall be at an instant near the present, float64 (size,).

        The place of the hold where nothing is played, None before the first chunk.
        """
        if not self._playing:
            return self._held
        if self._settings.seam is Seam.ENSEMBLE:
            return self._ensemble(now_ns)
        newest = self._sampled(self._playing[-1], now_ns)
        fade = self._fade.at(now_ns, self._settings.fade_s) if self._fade is not None else None
        return newest if fade is None else self._layout.moved(newest, fade)

    def progress(self, now_ns: int) -> Progress:
        """How far the newest chunk is played."""
        if not self._playing:
            return Progress()
        newest = self._playing[-1]
        left = len(newest.rows) - 1 - math.floor(newest.position_at(now_ns))
        return Progress(newest.chunk.chunk_id, left, newest.chunk.t0_ns)

    def hold(self, now_ns: int, position: Row | None = None) -> None:
        """Play no more: from this instant on the robot stays.

        Args:
            now_ns: The present, ns.
            position: Where it stays, float64 (size,); where the path is, by default.
        """
        place = self.path(now_ns) if position is None else position
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

    def _as_playing(self, chunk: Chunk, now_ns: int) -> _Playing:
        """Its first step is played at t0, or later by the time that the robot has held since."""
        start_ns = chunk.t0_ns
        if not self._playing and self._held_since_ns is not None:
            start_ns += max(0, now_ns - max(start_ns, self._held_since_ns))
        return _Playing(chunk, self._layout.rows(chunk), start_ns)

    def _begin_fade(self, here: Row, soon: Row, now_ns: int) -> None:
        newest = self._playing[-1]
        origin = self._sampled(newest, now_ns)
        offset = self._layout.offset(here, origin)
        self._last_seam_jump = float(np.max(np.abs(offset)))
        if self._settings.seam not in (Seam.OFFSET_FADE, Seam.RTC) or not self._settings.fade_s:
            return
        origin_soon = self._sampled(newest, now_ns + SLOPE_S * 1e9)
        rate = (self._layout.offset(soon, origin_soon, near=offset) - offset) / SLOPE_S
        self._fade = _Fade(now_ns, offset, rate)

    def _ensemble(self, now_ns: float) -> Row:
        *older, newest = self._playing
        covering = [*(playing for playing in older if now_ns < playing.end_ns), newest]
        samples = np.stack([self._sampled(playing, now_ns) for playing in covering])
        weights = np.exp(-self._settings.ensemble_decay * np.arange(len(samples)))
        return self._layout.mean(samples, weights)

    def _sampled(self, playing: _Playing, now_ns: float) -> Row:
        rows, position = playing.rows, playing.position_at(now_ns)
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

    def _require_timely(self, chunk: Chunk, now_ns: int) -> None:
        if now_ns > chunk.end_ns:
            late_s = (now_ns - chunk.end_ns) * 1e-9
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} came {late_s:.3f} s after its last step: "
                "the policy is slower than its horizon, or clocks differ"
            )
        if chunk.t0_ns > now_ns + MAX_FUTURE_NS:
            ahead_s = (chunk.t0_ns - now_ns) * 1e-9
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} starts {ahead_s:.3f} s in the future: clocks differ"
            )
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
