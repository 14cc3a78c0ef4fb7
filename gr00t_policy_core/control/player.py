# SPDX-License-Identifier: Apache-2.0
"""From chunks to commands: the schedule, the limits of the joints, and every reason to stop.

Pure and driven by the clock that it is given: the same calls give the same commands, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.chunk_checks import (
    require_in_range,
    require_near,
    require_recent,
    require_sane,
)
from gr00t_policy_core.control.command import (
    Command,
    JointReport,
    PlayerCounts,
    joint_reports,
)
from gr00t_policy_core.control.command_limiter import CommandLimiter, ramp_limits_of
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.measured_state import MOVED, MeasuredState
from gr00t_policy_core.control.motion_phase import MotionPhase
from gr00t_policy_core.control.playback_clock import PlaybackClock
from gr00t_policy_core.control.player_settings import OutOfRange, PlayerSettings
from gr00t_policy_core.control.schedule import (
    SLOPE_NS,
    ChunkProgress,
    ChunkSchedule,
    HandoverState,
)

NEW_LIMITS = "the limits have changed: the robot comes to rest before they are in force"


class MotionPlayer:
    """Plays chunks inside the limits, and comes to a stop inside them when there is a reason to.

    Args:
        layout: Layout of the action keys.
        settings: What the player needs to know of the robot.
    """

    def __init__(self, layout: ActionLayout, settings: PlayerSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._schedule = ChunkSchedule(
            layout, settings.schedule, ramp_limits_of(layout, settings.limits, settings.bodies)
        )
        self._clock = PlaybackClock(round(settings.period_s * 1e9))
        self._robot = MeasuredState(
            layout, settings.max_joint_ages_s, settings.max_following_errors
        )
        self._limiter: CommandLimiter | None = None
        self._vector: Row | None = None
        self._before: Row | None = None
        self._target: Row | None = None
        self._new_limits: Mapping[int, JointLimits] | None = None
        self._ticked_ns = 0
        self._max_age_s = np.inf  # of the observation behind what is played
        self._disabled = ""
        self._stopped = ""
        self._last_refusal = ""
        self._hold_reason = ""
        self._fault = ""
        self._progress = ChunkProgress()
        self._phase = MotionPhase.RESTING
        self.counts = PlayerCounts()

    @property
    def reason(self) -> str:
        """Why nothing is played, as of the last tick; empty while a chunk is."""
        if self._schedule.is_playing:
            return ""
        refusal = self._last_refusal
        if self._vector is None:
            return self._stopped or refusal or "no chunk received yet"
        held = (
            self._stopped
            or self._hold_reason
            or f"chunk {self._progress.chunk_id} ended and no other came"
        )
        return held if not refusal or held in refusal else f"{held}; refused since: {refusal}"

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person; empty once a chunk is played again."""
        return self._fault

    @property
    def chunk_jump(self) -> float:
        """How far the newest chunk was from the path when it came, largest value, rad or m."""
        return self._schedule.chunk_jump

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        return self._limiter.braking_s if self._limiter is not None else 0.0

    def report(self) -> list[JointReport]:
        """Every value that is commanded, as of the last tick; empty before the first command."""
        vector, target, limiter = self._vector, self._target, self._limiter
        if vector is None or target is None or limiter is None:
            return []
        return joint_reports(
            self._layout, target, vector, self._robot.positions, limiter.bound_by()
        )

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Tell where the joints and poses are.

        Args:
            positions: Positions of limited joints and of whole poses, by their index in the
                layout's vector, rad (or m); the others stay where they were last.
            stamp_ns: When they were there, ns.
        """
        self._robot.measure(positions, stamp_ns)

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        """Take a chunk as the newest.

        Raises:
            ChunkRefusedError: The motion is stopped, the schedule refuses the chunk, its
                observation is too old, it asks for what no robot can do, a joint is outside its
                range, or the chunk begins further than `max_jump` from where the joints are. What
                is played goes on.
        """
        at_ns = self._clock.at(now_ns)
        settings = self._settings
        try:
            stopped = self._stop_reason(now_ns)
            if stopped:
                raise ChunkRefusedError(f"chunk {chunk.chunk_id}: {stopped}")
            require_recent(chunk, now_ns, settings.observation_age)
            if self._vector is None:
                # Nothing was commanded yet: the robot is where the observation saw it.
                self._schedule.rest(0)
            planned = self._schedule.plan(chunk, at_ns)
            require_sane(chunk, planned.rows, self._layout, settings)
            entry = self._schedule.entry(planned, at_ns)
            start = self._start(entry)
            if not self._is_moving and settings.out_of_range is OutOfRange.REFUSE:
                require_in_range(chunk, start, self._layout, settings.limits)
            require_near(chunk, entry, start, self._layout, settings)
        except ChunkRefusedError as error:
            self.refuse(str(error))
            raise
        if self._is_moving:
            self._phase = (
                MotionPhase.FOLLOWING if self._phase is not MotionPhase.STARTING else self._phase
            )
        else:
            self._begin_at(start, at_ns)
        self._schedule.take(planned, at_ns, self._handover(at_ns))
        self._max_age_s = settings.observation_age.limit_of(chunk)
        self.counts.chunks += 1
        self._last_refusal = self._hold_reason = self._fault = ""
        entered = self._schedule.progress(at_ns)
        self.counts.steps_skipped += chunk.horizon - 1 - entered.steps_left

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused, here or before it could be offered."""
        self.counts.refused += 1
        self._last_refusal = reason

    def explain_refusal(self, reason: str) -> None:
        """Say more of the last refusal."""
        self._last_refusal = reason

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick.

        Args:
            now_ns: The present, on the clock of the stamps, ns.

        Returns:
            None before there is anything to command.
        """
        at_ns = self._pass_time(now_ns)
        self._stopped = self._stop_reason(now_ns)
        if self._phase is MotionPhase.STARTING:
            self._require_unmoved(at_ns)
        limiter = self._limiter
        if limiter is None:
            return None
        self._watch(limiter, now_ns, at_ns)
        if self._schedule.is_playing:
            self.counts.fresh += 1
            self._progress = self._schedule.progress(at_ns)
            vector = self._following(limiter, at_ns)
        else:
            vector = self._coming_to_rest(limiter, at_ns)
        self._before, self._vector = self._vector, vector
        self._ticked_ns = at_ns
        return self._command(vector, at_rest=self._limiter is None or self._limiter.is_at_rest)

    def allow(self, reason_why_not: str) -> None:
        """Say whether the robot may be moved: empty where it may, else it comes to rest."""
        self._disabled = reason_why_not

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest now; the next chunk is welcome."""
        self._brake(self._clock.at(now_ns), reason)

    def change_limits(self, limits: Mapping[int, JointLimits], now_ns: int) -> None:
        """Take other limits of the joints, after coming to rest within the present ones."""
        self._new_limits = limits
        if self._limiter is None:
            self._take_new_limits()
        else:
            self.hold(now_ns, NEW_LIMITS)

    def fallback_brake(self) -> FallbackBrake | None:
        """A way to rest that needs nothing of this player; None where nothing was commanded."""
        if self._vector is None:
            return None
        settings = self._settings
        return FallbackBrake(
            self._layout,
            settings.limits,
            settings.bodies,
            period_s=settings.period_s,
            last=self._vector,
            before=self._vector if self._before is None else self._before,
        )

    @property
    def _is_moving(self) -> bool:
        """Whether the commands move: a chunk is played, or something has not come to rest yet."""
        return self._phase not in (MotionPhase.RESTING, MotionPhase.YIELDING)

    def _pass_time(self, now_ns: int) -> int:
        """Let time pass up to a tick; returns its playback time, ns."""
        self.counts.ticks += 1
        instant = self._clock.tick(now_ns)
        if instant.set_back_ns:
            self._robot.restamp(now_ns)
            self._schedule.set_back(instant.now_ns, instant.set_back_ns)
        elif instant.slipped_ns:
            if self._schedule.is_playing:
                self.counts.stalls += 1
                self.counts.stalled_ns += instant.slipped_ns
            self._schedule.delay(instant.now_ns, instant.slipped_ns)
        self._schedule.advance(instant.now_ns)
        return instant.now_ns

    def _stop_reason(self, now_ns: int) -> str:
        """Why the robot may not be moved now; empty where it may."""
        if self._disabled or self._new_limits is not None:
            return self._disabled or NEW_LIMITS
        return self._robot.problem(now_ns)

    def _watch(self, limiter: CommandLimiter, now_ns: int, at_ns: int) -> None:
        """Begin to brake where there is a reason to.

        What began to brake brakes to a standstill, even if the reason passes meanwhile.
        """
        interruption = self._schedule.interruption
        if interruption and not self._hold_reason:
            self._brake(at_ns, interruption)
        if self._stopped:
            if self._is_moving and self._phase is not MotionPhase.BRAKING:
                self._brake(at_ns, "")
            self._hold_reason = f"no chunk came after a stop: {self._stopped}"
            return
        if self._schedule.is_playing:
            age_s = (now_ns - (self._schedule.progress(at_ns).observed_ns or now_ns)) * 1e-9
            if age_s > self._max_age_s:
                self._brake(
                    at_ns,
                    f"the newest observation is {age_s:.2f} s old, max_observation_age_s is "
                    f"{self._max_age_s:.3g}",
                )
        error = self._robot.following_error(self._vector) if self._vector is not None else ""
        if error and not self._fault:
            self._fault = error
            self._brake(at_ns, error)

    def _require_unmoved(self, at_ns: int) -> None:
        """Begin elsewhere, at rest, where the robot was moved since the chunk was accepted."""
        start = self._vector
        if start is None:
            return
        here = self._robot.over(start)
        if np.abs(self._layout.offset(here, start)).max() > MOVED:
            self._brake(at_ns, "the robot was moved before its first command")
            self._schedule.hold(at_ns, here)
            self._place(here)

    def _brake(self, at_ns: int, reason: str) -> None:
        # Where the first command is still to come, it is where the robot is: nothing moves yet.
        self._schedule.hold(at_ns, self._vector if self._phase is MotionPhase.STARTING else None)
        self._hold_reason = reason
        self.counts.holds += self._phase is MotionPhase.FOLLOWING
        if self._phase in (MotionPhase.FOLLOWING, MotionPhase.SETTLING):
            self._phase = MotionPhase.BRAKING

    def _start(self, entry: Row) -> Row:
        """Where the path goes on from: the last command in motion, the measured place at rest.

        A joint that is not measured is where it was commanded to, and before its first command
        where the chunk begins.
        """
        vector = self._vector
        if vector is not None and self._is_moving:
            return vector
        if vector is not None and not self._settings.silent_at_rest:
            # The hold goes on being commanded: the commands glide from there to where it is.
            return self._robot.displaced(vector)
        start = self._robot.over(entry if vector is None else vector)
        start[self._layout.is_velocity] = 0.0
        return start

    def _begin_at(self, start: Row, at_ns: int) -> None:
        """Go on from rest at this place."""
        self._robot.start_moving()
        self._phase = MotionPhase.FOLLOWING
        if self._vector is start:
            return
        self._schedule.hold(at_ns, start)
        if self._limiter is None or self._settings.silent_at_rest:
            self._place(start)
            self._phase = MotionPhase.STARTING

    def _place(self, start: Row) -> None:
        """Command this place next, whatever was commanded before, and from there on."""
        self._vector = self._before = self._target = start
        self._limiter = CommandLimiter(
            self._layout,
            self._settings.limits,
            self._settings.bodies,
            period_s=self._settings.period_s,
            start=start,
            hits=self.counts.limit_hits,
        )

    def _take_new_limits(self) -> None:
        limits = self._new_limits
        if limits is None:
            return
        self._new_limits = None
        self._settings = settings = replace(self._settings, limits=limits)
        self._schedule.ramp_limits = ramp_limits_of(self._layout, limits, settings.bodies)
        if self._vector is not None:
            self._place(self._vector)

    def _handover(self, at_ns: int) -> HandoverState | None:
        """Where the commands are and go: beside the path where a limit or a stop holds them."""
        handover = self._schedule.handover(at_ns)
        if handover is None or self._limiter is None:
            return handover
        since_s = (at_ns - self._ticked_ns) * 1e-9
        self._limiter.overwrite(handover.here, since_s)
        self._limiter.overwrite(handover.soon, since_s + SLOPE_NS * 1e-9)
        return handover

    def _following(self, limiter: CommandLimiter, at_ns: int) -> Row:
        """One tick along the path, inside the limits."""
        path = self._schedule.path_by_ticks(at_ns, round(self._settings.period_s * 1e9))
        self._target = path(0)
        if self._phase is MotionPhase.STARTING and self._vector is not None:
            self._phase = MotionPhase.FOLLOWING
            return self._vector
        return limiter.follow(path)

    def _coming_to_rest(self, limiter: CommandLimiter, at_ns: int) -> Row:
        """One tick of settling at the end of the chunk, or of braking where motion is not allowed.

        At rest the place stays, and no velocity stays commanded. Where motion is forbidden, a robot
        that was moved by somebody else is held where it is now: nothing pulls it back.
        """
        if self._phase in (MotionPhase.STARTING, MotionPhase.FOLLOWING):
            self.counts.holds += 1
            has_ended = not self._hold_reason  # else it was broken off before its first command
            self._phase = MotionPhase.SETTLING if has_ended else MotionPhase.RESTING
        held = self._schedule.path(at_ns)
        target = np.array(self._vector if held is None else held)
        target[self._layout.is_velocity] = 0.0
        self._target = target
        if self._phase is MotionPhase.SETTLING:
            vector = limiter.follow(lambda _: target)
            if not (limiter.is_at_rest and limiter.is_following):
                return vector
            self._phase = MotionPhase.RESTING
        elif self._phase is MotionPhase.BRAKING:
            vector = limiter.brake(target)
            if limiter.is_at_rest:
                self._phase = MotionPhase.RESTING
        else:
            vector = self._resting(target, at_ns)
        # The next chunk goes on from where the joints really come to rest.
        is_yielding = self._phase is MotionPhase.YIELDING
        self._schedule.hold(at_ns, self._target if is_yielding else vector)
        return vector

    def _resting(self, held: Row, now_ns: int) -> Row:
        """One tick at rest, or on the way to where the robot was moved to."""
        limiter = self._limiter
        if limiter is None:
            return held
        if limiter.is_at_rest:
            self._phase = MotionPhase.RESTING
            self._take_new_limits()
        if self._phase is MotionPhase.RESTING:
            self._robot.rest(held, now_ns)
            held = self._target = self._place_to_yield_to(held)
        return (self._limiter or limiter).yield_to(held)

    def _place_to_yield_to(self, held: Row) -> Row:
        """Where somebody has moved the robot while motion is forbidden; `held` where nobody has."""
        is_forbidden = bool(self._stopped or self._fault)
        if not (is_forbidden and self._robot.is_still) or self._settings.silent_at_rest:
            return held
        place = self._robot.displaced(held)
        if place is not held:
            self._robot.start_yielding()
            self._phase = MotionPhase.YIELDING
        return place

    def _command(self, vector: Row, *, at_rest: bool) -> Command:
        playing = self._schedule.is_playing
        return Command(
            values=self._layout.split(vector),
            chunk_id=self._progress.chunk_id,
            steps_left=self._progress.steps_left if playing else 0,
            holding=not playing,
            at_rest=not playing and at_rest,
            observed_ns=self._progress.observed_ns if playing else None,
        )
