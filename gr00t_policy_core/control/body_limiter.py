# SPDX-License-Identifier: Apache-2.0
"""Keeps the commands of an end effector or a base inside its limits of speed and acceleration.

As for joints, a command within the limits passes unchanged, and one that is not is replaced by a
motion inside them that catches up. Jerk is not limited. Speeds and accelerations are magnitudes of
vectors, of the translation (m) and of the rotation (rad), and those of the commands themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gr00t_policy_core.control.action_layout import ANGULAR, LINEAR, relative_rotvec, rotated
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.catch_up import closing_speed
from gr00t_policy_core.control.chunk import Row

AT_REST = 1e-9  # m, rad, and per s: below it the body stands still
ROUNDING = 1e-12  # of the length of a vector

Reference = Callable[[int], Row]
"""The target in a number of ticks from now, float64 (7,) or (6,)."""


class _LimitedVelocity:
    """A velocity vector of three values that changes within its limits.

    Args:
        speed: Its largest magnitude, m/s or rad/s.
        acceleration: The largest magnitude of its rate of change, m/s^2 or rad/s^2.
        period_s: Time between two commands, s.
        limit_hits: Counts the ticks in which a limit changed the command, by the limit's name.
    """

    def __init__(
        self, speed: float, acceleration: float, period_s: float, limit_hits: Counter[str]
    ) -> None:
        self.value = np.zeros(3)
        self._speed = speed
        self._acceleration = acceleration
        self._period_s = period_s
        self._limit_hits = limit_hits

    @property
    def braking_s(self) -> float:
        """How long it takes to become zero, s."""
        return _length(self.value) / self._acceleration

    @property
    def braking_way(self) -> Row:
        """How far it goes on the fastest way to zero, m or rad (3,): straight on."""
        speed, change = _length(self.value), self._acceleration * self._period_s
        ticks = math.floor(speed / change)
        way = self._period_s * ticks * (speed - 0.5 * change * (ticks + 1))
        return self.value * (way / max(speed, AT_REST))

    def allows(self, wanted: Row) -> bool:
        """Whether it may be the velocity of this tick; counts the limit that it would break."""
        if _length(wanted) > self._speed:
            self._limit_hits["velocity"] += 1
            return False
        if not self._reaches(wanted, self.value):
            self._limit_hits["acceleration"] += 1
            return False
        return True

    def can_go_on(self, wanted: Row, following: Row) -> bool:
        """Whether a velocity of this tick can become that of the next."""
        return self._reaches(following, wanted)

    def change_towards(self, wanted: Row) -> None:
        """Get as close to a velocity as one tick allows."""
        bounded = wanted * min(1.0, self._speed / max(_length(wanted), AT_REST))
        change = bounded - self.value
        share = self._acceleration * self._period_s / max(_length(change), AT_REST)
        # Rounding must not leave a velocity behind: the last command of a base is zero itself.
        self.value = bounded if share > 1.0 - ROUNDING else self.value + change * share

    def catch_up(self, way: Row, velocity: Row) -> None:
        """Close in on a target that moves, so that it can be braked from before it.

        Args:
            way: From the last command to where the target is at this tick, m or rad (3,).
            velocity: Of the target, per s (3,).
        """
        missed = way - self.value * self._period_s  # if this tick continued like the last one
        length = _length(missed)
        if length < AT_REST:
            return self.change_towards(velocity)
        closing = closing_speed(length, self._period_s, self._acceleration)
        return self.change_towards(velocity + missed * (closing / length))

    def _reaches(self, wanted: Row, before: Row) -> bool:
        return _length(wanted - before) <= self._acceleration * self._period_s


@dataclass(frozen=True, slots=True)
class BodyMark:
    """The state of a `BodyLimiter`; with the pose, (7,), where it limits one."""

    linear: Row
    angular: Row
    is_following: bool
    pose: Row | None = None


class BodyLimiter(ABC):
    """Keeps the commands of one body inside its limits.

    Args:
        limits: Largest speeds and accelerations that the commands keep.
        period_s: Time between two commands, s.
        limit_hits: Counts the ticks in which a limit changed the command, by the limit's name.
    """

    def __init__(self, limits: BodyLimits, period_s: float, limit_hits: Counter[str]) -> None:
        self._period_s = period_s
        self._linear = _LimitedVelocity(
            limits.linear_velocity, limits.linear_acceleration, period_s, limit_hits
        )
        self._angular = _LimitedVelocity(
            limits.angular_velocity, limits.angular_acceleration, period_s, limit_hits
        )
        self._is_following = True

    @property
    def is_following(self) -> bool:
        """Whether the last command was the target itself."""
        return self._is_following

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands have come to a standstill."""
        # The rotation from a quaternion to itself comes out as some 1e-17 rad.
        return max(_length(self._linear.value), _length(self._angular.value)) < AT_REST

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        return max(self._linear.braking_s, self._angular.braking_s)

    def mark(self) -> BodyMark:
        """Return the present state, for `undo`."""
        return BodyMark(self._linear.value, self._angular.value, self._is_following)

    def undo(self, mark: BodyMark) -> None:
        """Go back to a mark: the command since then is not sent."""
        self._linear.value, self._angular.value = mark.linear, mark.angular
        self._is_following = mark.is_following

    @abstractmethod
    def ahead(self, seconds: float) -> Row:
        """Return the command `seconds` after the last one, if nothing changed."""

    @abstractmethod
    def follow(self, reference: Reference) -> Row:
        """The command of this tick towards a target that may move."""

    def brake(self) -> Row:
        """The command of this tick on the fastest way to a standstill."""
        self._is_following = False
        self._linear.change_towards(np.zeros(3))
        self._angular.change_towards(np.zeros(3))
        return self._step()

    @abstractmethod
    def _step(self) -> Row:
        """The command of this tick from the velocities."""


class PoseLimiter(BodyLimiter):
    """Keeps a pose inside its limits: x y z and a unit quaternion x y z w.

    Args:
        pose: Where the body stands at the start, float64 (7,).
    """

    def __init__(
        self, limits: BodyLimits, period_s: float, pose: Row, limit_hits: Counter[str]
    ) -> None:
        super().__init__(limits, period_s, limit_hits)
        self._pose = np.array(pose)

    @property
    def position(self) -> Row:
        """Where the last command is, float64 (3,), m."""
        return self._pose[LINEAR]

    @property
    def resting_position(self) -> Row:
        """Where it comes to rest if it brakes from the last command on, float64 (3,), m."""
        return self.position + self._linear.braking_way

    def mark(self) -> BodyMark:
        return replace(super().mark(), pose=self._pose)

    def undo(self, mark: BodyMark) -> None:
        super().undo(mark)
        if mark.pose is not None:
            self._pose = mark.pose

    def ahead(self, seconds: float) -> Row:
        return _moved(self._pose, self._linear.value * seconds, self._angular.value * seconds)

    def follow(self, reference: Reference) -> Row:
        target, period_s = reference(0), self._period_s
        way, rotation = _displacement(target, self._pose)
        linear, angular = way / period_s, rotation / period_s
        velocity, spin = (part / period_s for part in _displacement(reference(1), target))
        allowed = [self._linear.allows(linear), self._angular.allows(angular)]
        if not self.is_following:
            # A path that only crosses the target's would be left again at once.
            allowed.append(self._linear.can_go_on(linear, velocity))
            allowed.append(self._angular.can_go_on(angular, spin))
        self._is_following = all(allowed)
        if self.is_following:
            self._linear.value, self._angular.value = linear, angular
            self._pose = np.array(target)
            return np.array(target)
        self._linear.catch_up(way, velocity)
        self._angular.catch_up(rotation, spin)
        return self._step()

    def _step(self) -> Row:
        self._pose = self.ahead(self._period_s)
        return np.array(self._pose)


class TwistLimiter(BodyLimiter):
    """Keeps a twist inside its limits: linear and angular velocity, float64 (6,)."""

    def ahead(self, seconds: float) -> Row:
        return np.concatenate([self._linear.value, self._angular.value])

    def follow(self, reference: Reference) -> Row:
        target = reference(0)
        linear, angular = target[LINEAR], target[ANGULAR]
        allowed = self._linear.allows(linear), self._angular.allows(angular)
        self._is_following = all(allowed)
        self._linear.change_towards(linear)
        self._angular.change_towards(angular)
        return self._step()

    def _step(self) -> Row:
        return self.ahead(0.0)


def pose_distances(to: Row, origin: Row) -> tuple[float, float]:
    """How far one pose (7,) is from another: m, and the angle of the shortest rotation, rad."""
    way, rotation = _displacement(to, origin)
    return _length(way), _length(rotation)


def _displacement(to: Row, origin: Row) -> tuple[Row, Row]:
    """Translation (3,), m, and rotation vector (3,), rad, from one pose to another."""
    return to[LINEAR] - origin[LINEAR], relative_rotvec(to[ANGULAR], origin[ANGULAR])


def _moved(pose: Row, way: Row, rotvec: Row) -> Row:
    quaternion = rotated(pose[ANGULAR], rotvec)
    return np.concatenate([pose[LINEAR] + way, quaternion / np.linalg.norm(quaternion)])


def _length(vector: Row) -> float:
    return math.sqrt(float(vector @ vector))
