# SPDX-License-Identifier: Apache-2.0
"""Keeps the position commands of one joint inside its limits, whatever the chunks ask for.

A command that is within all limits passes unchanged: no lag, no filter. One that is not is
replaced by the fastest motion that Ruckig finds inside the limits towards where the target will be
(Berscheid & Kroeger, "Jerk-limited Real-time Trajectory Generation with Arbitrary Target States",
RSS 2021), until it has caught up. Velocity, acceleration and jerk are those of the commands
themselves: their differences from tick to tick.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from ruckig import ControlInterface, InputParameter, Result, Ruckig, Trajectory

from gr00t_policy_core.control.catch_up import closing_speed
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.joint_motion import JointMotion, LimiterMark, WayToRest

# Share of the limits that is planned with. The rest covers the step between differences of
# commands, by which limits are judged, and the derivatives that Ruckig starts from.
PLANNED_SHARE = 0.95
REJOIN_TICKS = 4  # number of targets that must be allowed before they are followed again
LOOK_AHEAD_TICKS = 2  # that a target's velocity is taken over: not the jitter of one step
AT_REST = 1e-9  # rad, rad/s, rad/s^2 (or m): below it the joint stands still
# A command that differs from its target by less than this was not changed by a limit, rad (or m).
ROUNDING = 1e-9


Reference = Callable[[int], float]
"""The target in a number of ticks from now, rad (or m)."""


class _Planner:
    """Ruckig for one joint. A copy plans with a Ruckig of its own: Ruckig itself has no copies.

    Args:
        period_s: Time between two commands, s.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._ruckig = Ruckig(1, period_s)

    def __deepcopy__(self, memo: object) -> _Planner:
        return _Planner(self._period_s)

    def plan(self, request: InputParameter) -> Trajectory | None:
        """The fastest motion that was asked for, or None where Ruckig finds none."""
        plan = Trajectory(1)
        result = self._ruckig.calculate(request, plan)
        return plan if result in (Result.Working, Result.Finished) else None


class JointLimiter:
    """Keeps the commands of one joint inside its limits.

    A joint that starts outside its range is never thrown into it: its first command is where it
    stands. It may go back into its range, as fast as the other limits allow, and no further out.

    Args:
        limits: Range and largest magnitudes that the commands keep.
        period_s: Time between two commands, s.
        position: Where the joint stands at the start, rad (or m).
        limit_hits: Counts the ticks in which a limit changed the command, by the limit's name.
    """

    def __init__(
        self, limits: JointLimits, period_s: float, position: float, limit_hits: Counter[str]
    ) -> None:
        self._limits = limits
        self._period_s = period_s
        self._limit_hits = limit_hits
        self._planner = _Planner(period_s)
        # What the commands may reach: the range, and the place outside of it where they start.
        self._reach = min(limits.lower, position), max(limits.upper, position)
        self._state = JointMotion(position, 0.0, 0.0)
        # The last three commands, newest first: limits are judged by their differences.
        self._commands = (position, position, position)
        self._is_following = True
        self._bound_by = ""

    @property
    def position(self) -> float:
        """The last command, rad (or m)."""
        return self._commands[0]

    @property
    def velocity(self) -> float:
        """Velocity of the last command, rad/s (or m/s)."""
        return self._state.velocity

    @property
    def is_following(self) -> bool:
        """Whether the last command was the target itself."""
        return self._is_following

    @property
    def bound_by(self) -> str:
        """Name of the limit that changed the last command; empty where none did."""
        return self._bound_by

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        if self.is_at_rest:
            return 0.0
        plan = self._velocity_change(self._state, 0.0)
        return plan.duration if plan is not None else 0.0

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands have come to a standstill."""
        return self._stands_still and len(set(self._commands)) == 1

    @property
    def _stands_still(self) -> bool:
        return max(abs(self._state.velocity), abs(self._state.acceleration)) < AT_REST

    @property
    def stopping_room(self) -> float:
        """No less than the way on which the joint comes to rest, rad (or m)."""
        return self._room(self._state)

    def way_to_rest(self) -> WayToRest:
        """Where `brake` leads from the last command on."""
        plan = None if self._stands_still else self._velocity_change(self._state, 0.0)
        duration_s = plan.duration if plan is not None else 0.0
        return WayToRest(plan, self.position, *self._reach, duration_s)

    def mark(self) -> LimiterMark:
        """Remember the last command, so that what follows can be undone."""
        return LimiterMark(
            self._reach, self._state, self._commands, self._is_following, self._bound_by
        )

    def undo(self, mark: LimiterMark) -> None:
        """Take back every command since a mark."""
        self._reach, self._state, self._commands = mark.reach, mark.state, mark.commands
        self._is_following, self._bound_by = mark.is_following, mark.bound_by

    def follow(self, reference: Reference) -> float:
        """The command of this tick towards a moving target.

        Args:
            reference: Where the target is; ``reference(0)`` belongs to this tick.
        """
        target = reference(0)
        command = self._step_to(self._state_towards(reference))
        if abs(command - target) <= ROUNDING:
            self._bound_by = ""
        else:
            self._limit_hits[self._bound_by] += 1
        return command

    def yield_to(self, position: float) -> float:
        """The command of this tick on the way to rest at a place, which may be outside the range.

        For a joint that somebody has moved there by hand.
        """
        lowest, highest = self._reach
        self._reach = min(lowest, position), max(highest, position)
        self._bound_by = ""
        command = self._step_to(self._kept_in_reach(self._one_tick_to(position)))
        self._is_following = command == position
        return command

    def brake(self) -> float:
        """The command of this tick on the fastest way to a standstill."""
        self._is_following = False
        self._bound_by = ""
        if self.is_at_rest:
            return self.position
        if self._stands_still:  # what rounding left of the velocity would go on for ever near 0
            return self._step_to(JointMotion(self.position, 0.0, 0.0))
        return self._step_to(self._towards(0.0))

    def _state_towards(self, reference: Reference) -> JointMotion:
        # A path that only crosses the target's would have to be left at once.
        ticks = range(1 if self._is_following else REJOIN_TICKS)
        wanted = [reference(n) for n in ticks]
        targets = [self._within_range(target) for target in wanted]
        bound_by = self._limit_broken_by_any(targets)
        self._is_following = not bound_by
        self._bound_by = bound_by if wanted[0] == targets[0] else "position"
        if self._is_following:
            return self._state_after(targets[0])
        target, ahead = (self._within_range(reference(n)) for n in (0, LOOK_AHEAD_TICKS))
        if target == ahead:
            return self._kept_in_reach(self._one_tick_to(target))
        return self._towards(self._catch_up_velocity(target, ahead))

    def _limit_broken_by_any(self, targets: list[float]) -> str:
        """The limit that forbids these targets as the next commands; empty where none does."""
        now, before, earlier = self._commands
        for target in targets:
            broken = self._limit_broken_by(target, now, before, earlier)
            if broken:
                return broken
            now, before, earlier = target, now, before
        reached = self._state_after(targets[0])
        if not self._can_level_off(reached):
            return "velocity"
        if not self._can_stop_within(reached, *self._reach):
            return "position"
        return ""

    def _limit_broken_by(self, target: float, now: float, before: float, earlier: float) -> str:
        """The limit that a command would break after the three before it; empty where none."""
        period_s, limits = self._period_s, self._limits
        if abs(target - now) > limits.velocity * period_s:
            return "velocity"
        if abs(target - 2 * now + before) > limits.acceleration * period_s**2:
            return "acceleration"
        if abs(target - 3 * now + 3 * before - earlier) > limits.jerk * period_s**3:
            return "jerk"
        return ""

    def _state_after(self, target: float) -> JointMotion:
        """The state after commanding the target: differences, brought to the end of the tick."""
        now, before, _ = self._commands
        period_s, limits = self._period_s, self._limits
        acceleration = (target - 2 * now + before) / period_s**2
        velocity = (target - now) / period_s + acceleration * period_s / 2
        return JointMotion(
            target,
            _clipped(velocity, limits.velocity),
            _clipped(acceleration, limits.acceleration),
        )

    def _catch_up_velocity(self, there: float, ahead: float) -> float:
        """The velocity that closes in on a moving target, and can be braked from before it.

        Args:
            there: Where the target is, rad (or m).
            ahead: Where it will be `LOOK_AHEAD_TICKS` later.
        """
        period_s, limits = self._period_s, self._limits
        velocity = (ahead - there) / (LOOK_AHEAD_TICKS * period_s)
        error = there - self.position - self._state.velocity * period_s
        closing = closing_speed(abs(error), period_s, limits.acceleration, limits.jerk)
        return velocity + math.copysign(closing, error)

    def _towards(self, velocity: float) -> JointMotion:
        """One tick towards a velocity, or towards rest where the range would be left otherwise."""
        limit = PLANNED_SHARE * self._limits.velocity
        return self._kept_in_reach(self._one_tick(_clipped(velocity, limit)))

    def _kept_in_reach(self, reached: JointMotion | None) -> JointMotion:
        """This state, or one tick of braking where the joint could not stop in its reach."""
        if reached is not None and self._can_stop_within(reached, *self._reach):
            return reached
        self._bound_by = "position"
        return self._one_tick(0.0) or JointMotion(self.position, 0.0, 0.0)

    def _one_tick(self, velocity: float) -> JointMotion | None:
        return self._after_a_tick(self._velocity_change(self._state, velocity))

    def _one_tick_to(self, position: float) -> JointMotion | None:
        """One tick on the fastest way to rest at a place: beyond it only as far as it has to."""
        request = self._request(self._state)
        request.control_interface = ControlInterface.Position
        request.target_position = [position]
        request.target_velocity = [0.0]
        request.max_velocity = [PLANNED_SHARE * self._limits.velocity]
        return self._after_a_tick(self._planner.plan(request))

    def _after_a_tick(self, plan: Trajectory | None) -> JointMotion | None:
        if plan is None:
            return None
        position, velocity, acceleration = plan.at_time(self._period_s)
        return JointMotion(position[0], velocity[0], acceleration[0])

    def _step_to(self, state: JointMotion) -> float:
        now, before, _ = self._commands
        lowest, highest = self._reach
        position = min(max(state.position, lowest), highest)
        self._commands = (position, now, before)
        self._state = state
        limits = self._limits.lower, self._limits.upper
        if self._reach != limits and self._can_stop_within(state, *limits):
            self._reach = limits  # it is back in its range, for good
        return position

    def _within_range(self, position: float) -> float:
        return min(max(position, self._limits.lower), self._limits.upper)

    def _can_level_off(self, state: JointMotion) -> bool:
        """Whether the velocity limit is kept while the jerk limit lets the acceleration go.

        An acceleration `a` that jerk `j` takes back adds ``a^2 / (2 j)`` to the velocity.
        """
        acceleration = state.acceleration
        gained = acceleration * abs(acceleration) / (2.0 * PLANNED_SHARE * self._limits.jerk)
        return abs(state.velocity + gained) <= self._limits.velocity

    def _can_stop_within(self, state: JointMotion, lowest: float, highest: float) -> bool:
        room = self._room(state)
        if lowest + room <= state.position <= highest - room:
            return True
        plan = self._velocity_change(state, 0.0)
        if plan is None:
            return False
        extrema = plan.position_extrema[0]
        return bool(lowest - AT_REST <= extrema.min and extrema.max <= highest + AT_REST)

    def _room(self, state: JointMotion) -> float:
        """No less than the way to rest: at constant deceleration, delayed by the jerk limit."""
        limits = self._limits
        delay_s = 2 * limits.acceleration / limits.jerk
        speed = abs(state.velocity) + abs(state.acceleration) * delay_s
        return speed * (speed / limits.acceleration + delay_s)

    def _velocity_change(self, state: JointMotion, velocity: float) -> Trajectory | None:
        """Ruckig's fastest way from a state to a velocity, or None where it finds none."""
        request = self._request(state)
        request.control_interface = ControlInterface.Velocity
        request.target_velocity = [velocity]
        return self._planner.plan(request)

    def _request(self, state: JointMotion) -> InputParameter:
        request = InputParameter(1)
        request.current_position = [state.position]
        request.current_velocity = [state.velocity]
        request.current_acceleration = [state.acceleration]
        request.max_acceleration = [PLANNED_SHARE * self._limits.acceleration]
        request.max_jerk = [PLANNED_SHARE * self._limits.jerk]
        return request


def _clipped(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
