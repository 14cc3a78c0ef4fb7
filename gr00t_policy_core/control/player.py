# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: the schedule, the limits of the joints, and every reason to stop.

Pure and driven by the clock that it is given: the same calls give the same commands, bit for bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.layout import Layout
from gr00t_policy_core.control.limits import LIMIT_NAMES, JointLimits
from gr00t_policy_core.control.robot_limits import RobotLimiter, gentleness_of, jumps
from gr00t_policy_core.control.schedule import (
    SLOPE_NS,
    ChunkSchedule,
    Leaving,
    Progress,
    ScheduleSettings,
)


@dataclass(frozen=True, slots=True)
class PlayerSettings:
    """What a player needs to know of the robot.

    Args:
        period_s: Between two ticks, s.
        schedule: How chunks are played.
        limits: Of the limited joints, by their index in the layout's vector.
        bodies: Limits of poses and twists, by their action key.
        max_jump: A chunk whose path starts further away than this, in any limited joint or pose,
            is refused: rad and m.
        max_joint_ages_s: By index: a position that has come once and is older than this stops
            the motion, s; joints that are not named may be of any age.
    """

    period_s: float
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    limits: Mapping[int, JointLimits] = field(default_factory=dict)
    bodies: Mapping[str, BodyLimits] = field(default_factory=dict)
    max_jump: float = math.inf
    max_joint_ages_s: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """What to command at one tick.

    Args:
        values: float64 (D,) by action key, in SI units and rad.
        chunk_id: The chunk that it is from, or was before holding.
        steps_left: Steps of that chunk that still lie ahead.
        holding: Nothing valid is left to play.
        at_rest: Holding, and come to a standstill.
        observed_ns: Stamp of the observation behind the chunk, ns; None while holding.
    """

    values: Mapping[str, Row]
    chunk_id: int
    steps_left: int
    holding: bool
    at_rest: bool
    observed_ns: int | None


@dataclass(slots=True)
class PlayerCounts:
    """What has happened so far. `limits` counts ticks by the name of the limit that bound.

    Its names are there from the start, so that another thread may read while a tick counts.
    """

    chunks: int = 0
    refused: int = 0
    ticks: int = 0
    fresh: int = 0
    holds: int = 0
    steps_skipped: int = 0
    limits: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LIMIT_NAMES, 0)))


class MotionPlayer:
    """Plays chunks inside the limits, and comes to a stop inside them when there is a reason to.

    Args:
        layout: The action keys.
        settings: What it needs to know of the robot.
    """

    def __init__(self, layout: Layout, settings: PlayerSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._schedule = ChunkSchedule(
            layout, settings.schedule, gentleness_of(layout, settings.limits, settings.bodies)
        )
        self._limiter: RobotLimiter | None = None
        self._vector: Row | None = None
        self._ticked_ns = 0
        self._measured: dict[int, float] = {}
        self._measured_ns: dict[int, int] = {}
        self._disabled = ""
        self._stopped = ""
        self._last_refusal = ""
        self._hold_reason = ""
        self._progress = Progress()
        self._was_playing = False
        self.counts = PlayerCounts()

    @property
    def reason(self) -> str:
        """Why nothing is played, as of the last tick; empty while a chunk is."""
        if self._schedule.is_playing:
            return ""
        if self._stopped:
            return self._stopped
        if self._vector is None:
            return self._last_refusal or "no chunk received yet"
        if self._hold_reason or self._last_refusal:
            return self._hold_reason or self._last_refusal
        return f"chunk {self._progress.chunk_id} ended and no other came"

    @property
    def seam_jump(self) -> float:
        """How far the newest chunk was from the path when it came, largest value, rad or m."""
        return self._schedule.last_seam_jump

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Tell where the joints and poses are.

        Args:
            positions: Of limited joints and of whole poses, by their index in the layout's vector,
                rad (or m); the others stay where they were last.
            stamp_ns: When they were there, ns.
        """
        self._measured.update(positions)
        self._measured_ns.update(dict.fromkeys(positions, stamp_ns))

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Take a chunk as the newest.

        Raises:
            ChunkRefusedError: The motion is stopped, the schedule refuses the chunk, or it begins
                further than `max_jump` from where the joints are. What is played goes on.
        """
        try:
            stopped = self._stop_reason(now_ns)
            if stopped:
                raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {stopped}")
            if self._vector is None:
                # Nothing was commanded yet: the robot is where the observation saw it.
                self._schedule.rest(0)
            planned = self._schedule.plan(chunk, now_ns)
            entry = self._schedule.entry(planned, now_ns)
            start = self._start(entry)
            self._require_near(chunk, entry, start)
        except ChunkRefusedError as error:
            self.refuse(str(error))
            raise
        if not self._schedule.is_playing:
            self._begin_at(start, now_ns)
        self._schedule.take(planned, now_ns, self._leaving(now_ns))
        self.counts.chunks += 1
        self._last_refusal = ""
        self._hold_reason = ""
        entered = self._schedule.progress(now_ns)
        self.counts.steps_skipped += chunk.horizon - 1 - entered.steps_left

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused, here or before it could be offered."""
        self.counts.refused += 1
        self._last_refusal = reason

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick.

        Args:
            now_ns: The present, on the clock of the stamps, ns.

        Returns:
            None before there is anything to command.
        """
        self.counts.ticks += 1
        self._schedule.advance(now_ns)
        self._stopped = self._stop_reason(now_ns)
        if self._stopped and self._schedule.is_playing:
            self._schedule.hold(now_ns)
        limiter = self._limiter
        if limiter is None:
            return None
        # What began to brake brakes to a standstill, even if the reason passes meanwhile.
        interruption = self._schedule.interruption
        if self._stopped:
            self._hold_reason = f"no chunk came after a stop: {self._stopped}"
        elif interruption and not self._hold_reason:
            self._hold_reason = interruption
        if self._schedule.is_playing:
            self.counts.fresh += 1
            self._progress = self._schedule.progress(now_ns)
            self._vector = self._following(limiter, now_ns)
        else:
            self.counts.holds += self._was_playing
            self._vector = self._coming_to_rest(limiter, now_ns)
        self._was_playing = self._schedule.is_playing
        self._ticked_ns = now_ns
        return self._command(limiter, self._vector)

    def allow(self, reason_why_not: str) -> None:
        """Say whether the robot may be moved: empty where it may, else it comes to rest."""
        self._disabled = reason_why_not

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest now; the next chunk is welcome."""
        self._schedule.hold(now_ns)
        self._hold_reason = reason

    def _stop_reason(self, now_ns: int) -> str:
        """Why the robot may not be moved now; empty where it may."""
        if self._disabled:
            return self._disabled
        for index, limit_s in self._settings.max_joint_ages_s.items():
            age_s = (now_ns - self._measured_ns.get(index, now_ns)) * 1e-9
            if age_s > limit_s:
                name = self._layout.name_of(index)
                return f"the position of {name} is {age_s:.2f} s old, {limit_s:g} s are allowed"
            if age_s < -limit_s:
                name = self._layout.name_of(index)
                return f"the position of {name} is {-age_s:.2f} s in the future: clocks differ"
        return ""

    def _start(self, entry: Row) -> Row:
        """Where the path goes on from: the last command, or the joints where they are elsewhere.

        A joint that was never seen is believed to be where the first chunk begins.
        """
        if self._vector is not None and (self._schedule.is_playing or not self._is_displaced()):
            return self._vector
        start = entry if self._vector is None else self._vector
        return np.array([self._measured.get(i, value) for i, value in enumerate(start.tolist())])

    def _is_displaced(self) -> bool:
        """Whether a joint at rest is not where it was commanded to: somebody else has moved it."""
        vector = self._vector
        if vector is None:
            return False
        measured = [self._measured.get(i, value) for i, value in enumerate(vector.tolist())]
        limits, limit = self._settings.limits, self._settings.max_jump
        return any(True for _ in jumps(self._layout, limits, np.array(measured), vector, limit))

    def _require_near(self, chunk: Chunk, entry: Row, start: Row) -> None:
        limit = self._settings.max_jump
        for jump in jumps(self._layout, self._settings.limits, entry, start, limit):
            raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {jump}; max_jump is {limit:g}")

    def _begin_at(self, start: Row, now_ns: int) -> None:
        """Go on from rest at this place."""
        if self._vector is start:
            return
        self._schedule.hold(now_ns, start)
        self._vector = start
        self._limiter = RobotLimiter(
            self._layout,
            self._settings.limits,
            self._settings.bodies,
            period_s=self._settings.period_s,
            start=start,
            hits=self.counts.limits,
        )

    def _leaving(self, now_ns: int) -> Leaving | None:
        """Where the commands are and go: beside the path where a limit or a stop holds them."""
        leaving = self._schedule.leaving(now_ns)
        if leaving is None or self._limiter is None:
            return leaving
        since_s = (now_ns - self._ticked_ns) * 1e-9
        self._limiter.overwrite(leaving.here, since_s)
        self._limiter.overwrite(leaving.soon, since_s + SLOPE_NS * 1e-9)
        return leaving

    def _following(self, limiter: RobotLimiter, now_ns: int) -> Row:
        """One tick along the path, inside the limits."""
        period_ns = round(self._settings.period_s * 1e9)
        ahead: dict[int, Row] = {}

        def path(ticks: int) -> Row:
            if ticks not in ahead:
                row = self._schedule.path(now_ns + ticks * period_ns)
                ahead[ticks] = ahead[0] if row is None else row
            return ahead[ticks]

        return limiter.follow(path)

    def _coming_to_rest(self, limiter: RobotLimiter, now_ns: int) -> Row:
        """One tick of settling at the end of the chunk, or of braking where motion is not allowed.

        At rest the place stays, and no velocity stays commanded.
        """
        held = self._schedule.path(now_ns)
        target = np.array(self._vector if held is None else held)
        target[self._layout.is_velocity] = 0.0
        if not self._hold_reason:
            return limiter.follow(lambda _: target)
        vector = limiter.brake(target)
        # The next chunk goes on from where the joints really come to rest.
        self._schedule.hold(now_ns, vector)
        return vector

    def _command(self, limiter: RobotLimiter, vector: Row) -> Command:
        playing = self._schedule.is_playing
        return Command(
            values=self._layout.split(vector),
            chunk_id=self._progress.chunk_id,
            steps_left=self._progress.steps_left if playing else 0,
            holding=not playing,
            at_rest=not playing and limiter.is_at_rest,
            observed_ns=self._progress.observed_ns if playing else None,
        )
