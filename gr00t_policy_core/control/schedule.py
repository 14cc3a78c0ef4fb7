# SPDX-License-Identifier: Apache-2.0
"""Chunks over time: which command belongs to this instant.

Step i of a chunk belongs to ``t0 + i * dt``, where t0 is the stamp of the observation that the
chunk was computed from. The schedule plays the newest chunk at ``(now - t0) / dt``; a step whose
time has passed is never played, however late the chunk came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]

# A clock that goes back by less is jitter between machines; by more, it was set back.
CLOCK_JUMP_NS = 500_000_000
# A chunk from further ahead than this was stamped by another clock.
MAX_FUTURE_NS = 1_000_000_000
# Steps outside this are no policy's; summed up they leave what integers of ns can hold.
MIN_STEP_S, MAX_STEP_S = 1e-6, 60.0


class ChunkRefusedError(ValueError):
    """A chunk that must not move the robot; the message says why."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One answer of a policy, ready to be played.

    Args:
        chunk_id: Tells chunks apart in logs and status.
        t0_ns: Stamp of the observation that it was computed from, ns.
        dt_s: Time between two steps, s.
        actions: float64 arrays (horizon, D) by action key, all of one horizon; SI units, rad.

    Raises:
        ChunkRefusedError: Wrong shapes, a step that is no sensible time, or a value that is not
            finite: the whole chunk is refused, naming the key and the step.
    """

    chunk_id: int
    t0_ns: int
    dt_s: float
    actions: Mapping[str, Row]

    def __post_init__(self) -> None:
        if not self.actions:
            raise ChunkRefusedError(f"chunk {self.chunk_id} has no action")
        if not MIN_STEP_S <= self.dt_s <= MAX_STEP_S:
            raise ChunkRefusedError(
                f"chunk {self.chunk_id}: dt must be {MIN_STEP_S:g} to {MAX_STEP_S:g} s, "
                f"got {self.dt_s}"
            )
        for key, values in self.actions.items():
            if values.ndim != 2 or 0 in values.shape:
                raise ChunkRefusedError(
                    f"chunk {self.chunk_id}, {key}: expected (horizon, D), got {values.shape}"
                )
            if not np.isfinite(values).all():
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ChunkRefusedError(
                    f"chunk {self.chunk_id}, {key}: a value of step {step} is not finite"
                )
        horizons = {key: len(values) for key, values in self.actions.items()}
        if len(set(horizons.values())) > 1:
            raise ChunkRefusedError(f"chunk {self.chunk_id}: horizons differ: {horizons}")

    @property
    def horizon(self) -> int:
        """Number of steps."""
        return len(next(iter(self.actions.values())))

    @property
    def end_ns(self) -> int:
        """The instant of the last step, ns."""
        return self.t0_ns + round((self.horizon - 1) * self.dt_s * 1e9)


@dataclass(frozen=True, slots=True)
class Command:
    """What to command at one instant.

    Args:
        values: float64 (D,) by action key.
        chunk_id: The chunk that it is from.
        steps_left: Steps of that chunk that still lie ahead; 0 while holding.
        holding: The chunk is used up; `values` are the last ones commanded.
    """

    values: Mapping[str, Row]
    chunk_id: int
    steps_left: int
    holding: bool


class ChunkSchedule:
    """Plays the newest chunk against the clock, and holds the last position when it is used up."""

    def __init__(self) -> None:
        self._chunk: Chunk | None = None
        self._last: Command | None = None
        self._last_now_ns: int | None = None

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Take a chunk as the one to play from now on.

        Args:
            chunk: Its keys and dimensions must be those of the chunks before.
            now_ns: The present, on the clock of the observation stamps, ns.

        Raises:
            ChunkRefusedError: All of its steps have passed, it is older than the one being played,
                it is from the future, or its keys or dimensions changed. What is played goes on.
        """
        self._notice_clock_jump(now_ns)
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
        if self._chunk is not None and chunk.t0_ns < self._chunk.t0_ns:
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} is older than chunk {self._chunk.chunk_id}, being played"
            )
        if self._last is not None:
            self._require_same_layout(chunk, self._last)
        self._chunk = chunk

    def command(self, now_ns: int) -> Command | None:
        """What to command at this instant.

        Args:
            now_ns: The present, on the clock of the observation stamps, ns.

        Returns:
            The newest chunk interpolated linearly at ``(now - t0) / dt``; past its last step the
            last position commanded, with `holding` set; None before the first chunk.
        """
        self._notice_clock_jump(now_ns)
        self._last_now_ns = now_ns
        chunk = self._chunk
        if chunk is None:
            return self._hold()
        position = max(0.0, (now_ns - chunk.t0_ns) * 1e-9 / chunk.dt_s)
        last_step = chunk.horizon - 1
        # The tick just past the end plays the last step itself, so that the hold is exactly there.
        step = min(int(position), last_step)
        fraction = position - step if step < last_step else 0.0
        values = {key: _interpolated(rows, step, fraction) for key, rows in chunk.actions.items()}
        self._last = Command(
            values=values, chunk_id=chunk.chunk_id, steps_left=last_step - step, holding=False
        )
        if position >= last_step:
            self._chunk = None
        return self._last

    def hold(self) -> None:
        """Stop playing: from now on the last position commanded is held until a new chunk."""
        self._chunk = None

    def clear(self) -> None:
        """Forget the chunk and the last position: nothing is commanded until a new chunk."""
        self._chunk = None
        self._last = None
        self._last_now_ns = None

    def _hold(self) -> Command | None:
        if self._last is None:
            return None
        if not self._last.holding:
            self._last = Command(
                values=self._last.values,
                chunk_id=self._last.chunk_id,
                steps_left=0,
                holding=True,
            )
        return self._last

    def _notice_clock_jump(self, now_ns: int) -> None:
        """After the clock was set back, the stamps of the chunk in hand mean nothing any more."""
        if self._last_now_ns is not None and now_ns < self._last_now_ns - CLOCK_JUMP_NS:
            self._chunk = None
            self._last_now_ns = now_ns

    @staticmethod
    def _require_same_layout(chunk: Chunk, last: Command) -> None:
        came = {key: rows.shape[1] for key, rows in chunk.actions.items()}
        before = {key: len(row) for key, row in last.values.items()}
        if came != before:
            raise ChunkRefusedError(
                f"chunk {chunk.chunk_id} has keys and dimensions {came}, "
                f"the chunks before had {before}"
            )


def _interpolated(rows: Row, step: int, fraction: float) -> Row:
    row: Row = rows[step]
    if fraction == 0.0:
        return row
    following: Row = rows[step + 1]
    return row + fraction * (following - row)
