# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: where the robot should be at this instant.

Step i of a chunk belongs to ``t0 + i * dt``, where t0 is the stamp of the observation that the
chunk was computed from: a step whose time has passed is never played, however late the chunk came.
Time that the robot spent holding, lost on the ramps of a chunk, or stood because no command went
out, does not pass for the next one: a robot that has not moved since the observation begins at the
first step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ActiveChunk, ChunkProgress, plan_active_chunk
from gr00t_policy_core.control.blend import (
    SLOPE_NS,
    BlendMode,
    HandoverState,
    OffsetBlend,
    plan_offset_blend,
)
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.chunk_checks import require_layout, require_steps_ahead
from gr00t_policy_core.control.interpolation import interpolate_steps
from gr00t_policy_core.control.playback_clock import CLOCK_JUMP_NS
from gr00t_policy_core.control.ramp import RampLimits
from gr00t_policy_core.control.schedule_settings import ScheduleSettings

# Chunks that ensemble keeps at most; the oldest go.
MAX_CHUNKS = 64
# Stalls that are remembered: a chunk observed before so many of them starts a little too late.
MAX_STALLS = 256


class ChunkSchedule:
    """The path through all chunks, and where it rests between them.

    Args:
        layout: Keys and dimensions of every chunk.
        settings: How chunks are blended and interpolated.
        ramp_limits: How much acceleration and jerk ramps and blends may add; any, by default.
    """

    def __init__(
        self,
        layout: ActionLayout,
        settings: ScheduleSettings | None = None,
        ramp_limits: RampLimits | None = None,
    ) -> None:
        self._layout = layout
        self._settings = settings or ScheduleSettings()
        self._ramp_limits = ramp_limits or RampLimits.none(layout.size)
        self._active: list[ActiveChunk] = []  # oldest first; one of them, except for ensemble
        self._blend: OffsetBlend | None = None
        self._ended: ActiveChunk | None = None  # what was played to its end before this rest
        self._resting_at: Row | None = None
        self._resting_since_ns: int | None = None
        self._now_ns: int | None = None
        self._newest_t0_ns: int | None = None
        self._chunk_jump = 0.0
        self._stalls: deque[tuple[int, int]] = deque(maxlen=MAX_STALLS)  # their end and length, ns

    @property
    def is_playing(self) -> bool:
        """Whether a chunk covered the current time at the last call."""
        return bool(self._active)

    @property
    def chunk_jump(self) -> float:
        """The largest distance of the newest chunk from the path on its arrival, rad or m."""
        return self._chunk_jump

    def offer(self, chunk: Chunk, now_ns: int, handover: HandoverState | None = None) -> None:
        """Plan a chunk and accept it as the newest.

        Args:
            chunk: Its keys and dimensions must be those of the layout.
            now_ns: The present, on the clock of the observation stamps, ns.
            handover: Where the commands really are; on the path, by default.

        Raises:
            ChunkRefusedError: As for `plan`. The current motion continues.
        """
        self.take(self.plan(chunk, now_ns), now_ns, handover)

    def plan(self, chunk: Chunk, now_ns: int) -> ActiveChunk:
        """Plan how to play a chunk from now on.

        Raises:
            ChunkRefusedError: All of its steps have passed, it is older than the newest, or its
                keys or dimensions differ.
        """
        self.advance(now_ns)
        require_layout(chunk, self._layout)
        self._require_newest(chunk)
        planned = plan_active_chunk(
            chunk,
            self._layout,
            self._ramp_limits,
            start_ns=chunk.t0_ns + self._stood_ns(chunk.t0_ns, now_ns),
            now_ns=now_ns,
            from_rest=not self._active,
        )
        require_steps_ahead(planned, now_ns)
        return planned

    def entry(self, planned: ActiveChunk, now_ns: int) -> Row:
        """Where a chunk would be entered that was planned for this instant, float64 (size,)."""
        return self._sample(planned, now_ns)

    def take(
        self, planned: ActiveChunk, now_ns: int, handover: HandoverState | None = None
    ) -> None:
        """Play a chunk as `plan` has planned it for the same instant.

        Args:
            planned: What `plan` returned.
            now_ns: The instant that it was planned for, ns.
            handover: Where the commands really are; on the path, by default.
        """
        handover = handover or self.handover(now_ns)
        is_ensemble = self._settings.blend is BlendMode.ENSEMBLE
        self._active = [*(self._active if is_ensemble else []), planned][-MAX_CHUNKS:]
        self._blend = None if handover is None else self._blend_from(handover, now_ns)
        self._resting_since_ns = None
        self._newest_t0_ns = planned.chunk.t0_ns

    def handover(self, now_ns: int) -> HandoverState | None:
        """Where the path is and goes at an instant; None before the first chunk."""
        now, soon = self.path(now_ns), self.path(now_ns + SLOPE_NS)
        return None if now is None or soon is None else HandoverState(now, soon)

    def advance(self, now_ns: int) -> int:
        """Let time pass: chunks that are used up end, and the path rests where they ended.

        Returns:
            As `set_back`, where the clock was set back since the last call; else 0.
        """
        last_ns, self._now_ns = self._now_ns, now_ns
        if last_ns is not None and now_ns < last_ns - CLOCK_JUMP_NS:
            return self.set_back(now_ns, last_ns - now_ns)
        if self._active and now_ns >= self._end_ns:
            ended = self._active[-1]
            self.rest(self._end_ns)
            self._ended = ended
        if len(self._active) > 1:
            *older, newest = self._active
            self._active = [*(one for one in older if now_ns < one.last_ns), newest]
        return 0

    def set_back(self, now_ns: int, by_ns: int) -> int:
        """Rest, because the clock was set back and the stamps of the chunks are invalid.

        Args:
            now_ns: The present by the new time, ns.
            by_ns: How far it was set back, ns.

        Returns:
            `by_ns` where that broke off a chunk, else 0.
        """
        broken_off_ns = by_ns if self._active else 0
        self.rest(now_ns + by_ns)
        self._resting_since_ns, self._newest_t0_ns, self._ended = now_ns, None, None
        self._stalls.clear()
        self._now_ns = now_ns
        return broken_off_ns

    def delay(self, now_ns: int, stalled_ns: int) -> None:
        """Continue from the last position: time has passed without a command.

        Args:
            now_ns: The end of that time, ns.
            stalled_ns: Its length, ns; negative where the clock was set back a little.
        """
        if self._now_ns is not None:
            self._now_ns += stalled_ns
        if not self._active:
            return
        self._stalls.append((now_ns, stalled_ns))
        self._active = [one.delayed(stalled_ns) for one in self._active]
        if self._blend is not None:
            self._blend = self._blend.delayed(stalled_ns)

    def rest(self, now_ns: int, position: Row | None = None) -> None:
        """Stop playing: from this instant on the path rests.

        Args:
            now_ns: Playback time from which on it rests, ns.
            position: Where it rests, float64 (size,); where the path is, by default.
        """
        place = self.path(now_ns) if position is None else position
        if self._active:
            self._ended = None
        self._active, self._blend = [], None
        self._resting_at = place
        if self._resting_since_ns is None:
            self._resting_since_ns = now_ns

    def assume_at_rest(self, since_ns: int) -> None:
        """Assume that a robot without a path has stood still since an instant, ns."""
        if not self._active and self._resting_since_ns is None:
            self._resting_since_ns = since_ns

    def change_ramp_limits(self, ramp_limits: RampLimits) -> None:
        """Use other limits of ramps and blends from the next chunk on."""
        self._ramp_limits = ramp_limits

    def path(self, now_ns: int) -> Row | None:
        """Return where the robot should be at an instant near the present, float64 (size,).

        Where it rests if nothing is played; None before the first chunk.
        """
        if not self._active:
            return None if self._resting_at is None else np.array(self._resting_at)
        if self._settings.blend is BlendMode.ENSEMBLE:
            return self._ensemble_mean(now_ns)
        newest = self._sample(self._active[-1], now_ns)
        offset = self._blend.at(now_ns) if self._blend is not None else None
        return newest if offset is None else self._layout.with_offset(newest, offset)

    def path_by_ticks(self, now_ns: int, period_ns: int) -> Callable[[int], Row]:
        """The path of the chunk by ticks from an instant; each value is computed once."""

        @cache
        def path(ticks: int) -> Row:
            row = self.path(now_ns + ticks * period_ns)
            return path(0) if row is None else row

        return path

    def progress(self, now_ns: int) -> ChunkProgress:
        """How far the newest chunk is played at an instant, ns."""
        return self._active[-1].progress(now_ns) if self._active else ChunkProgress()

    @property
    def _end_ns(self) -> int:
        """When the newest chunk, and the blend into it, have been played to their end, ns."""
        end_ns = self._active[-1].end_ns
        return end_ns if self._blend is None else max(end_ns, self._blend.end_ns)

    def _stood_ns(self, since_ns: int, now_ns: int) -> int:
        """How much of the time since an instant did not pass for the robot, ns."""
        played = self._active[-1] if self._active else self._ended
        if played is not None:
            stalled_ns = sum(length_ns for end_ns, length_ns in self._stalls if end_ns > since_ns)
            # What is played was moved by the stalls, and so is the instant on its axis.
            lag_s = played.lag_s(now_ns) - played.lag_s(since_ns + stalled_ns)
            return max(0, stalled_ns + round(lag_s * 1e9))
        if self._resting_since_ns is None:
            return 0
        return max(0, now_ns - max(since_ns, self._resting_since_ns))

    def _blend_from(self, handover: HandoverState, now_ns: int) -> OffsetBlend | None:
        """The blend from where the commands are into the newest chunk; None for other modes."""
        newest = self._active[-1]
        entry, entry_soon = (self._sample(newest, ns) for ns in (now_ns, now_ns + SLOPE_NS))
        offset = self._layout.offset(handover.now, entry)
        self._chunk_jump = float(np.max(np.abs(offset)))
        blend_s, limits = self._settings.blend_s, self._ramp_limits
        if not self._settings.blend.fades_offset or not blend_s:
            return None
        offset_soon = self._layout.offset(handover.soon, entry_soon, near=offset)
        rate = (offset_soon - offset) / (SLOPE_NS * 1e-9)
        return plan_offset_blend(now_ns, offset, rate, blend_s=blend_s, ramp_limits=limits)

    def _ensemble_mean(self, now_ns: int) -> Row:
        *older, newest = self._active
        # Only the newest comes to an end: the others are left before they slow down.
        covering = [one.without_ramp_down() for one in older if now_ns < one.last_ns]
        samples = np.stack([self._sample(one, now_ns) for one in [*covering, newest]])
        weights = np.exp(-self._settings.ensemble_decay * np.arange(len(samples)))
        return self._layout.mean(samples, weights)

    def _sample(self, active: ActiveChunk, now_ns: int) -> Row:
        steps = active.steps_at(now_ns)
        vector = interpolate_steps(self._layout, active.rows, steps, cubic=self._settings.cubic)
        vector[self._layout.is_velocity] *= active.rate_at(now_ns)
        return vector

    def _require_newest(self, chunk: Chunk) -> None:
        if self._newest_t0_ns is not None and chunk.t0_ns < self._newest_t0_ns:
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} comes from an older observation than the chunk before it"
            )
