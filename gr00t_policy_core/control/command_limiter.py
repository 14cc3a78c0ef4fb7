# SPDX-License-Identifier: Apache-2.0
"""All limits of a robot at once: its joints, and the bodies that are commanded in space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import RampLimits
from gr00t_policy_core.control.body_limits import (
    ANGULAR,
    LINEAR,
    BodyLimiter,
    BodyLimits,
    PoseLimiter,
    TwistLimiter,
    distances,
)
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limits import JointLimiter, JointLimits
from gr00t_policy_core.control.velocity_limiter import VelocityLimiter

# Share of the limits that slowing down and fading may take.
RAMP_SHARE = 0.3

Path = Callable[[int], Row]
"""The path so many ticks from now, float64 (size,)."""


class _Limiter(Protocol):
    """What the limiters of joints, of their velocities and of bodies have in common."""

    @property
    def is_at_rest(self) -> bool: ...

    @property
    def is_following(self) -> bool: ...

    @property
    def braking_s(self) -> float: ...


class CommandLimiter:
    """Keeps a vector of commands inside the limits; what has none is commanded as it is.

    Args:
        layout: Of the vector.
        joints: Limits of joints, by their index in the vector; those that the layout calls
            velocities are limited as velocities, without regard to their range.
        bodies: Limits of poses and twists, by their action key.
        period_s: Between two commands, s.
        start: Where the robot stands, float64 (size,).
        hits: Counts, by the name of the limit, the ticks in which it bound a joint or a body.
    """

    def __init__(
        self,
        layout: ActionLayout,
        joints: Mapping[int, JointLimits],
        bodies: Mapping[str, BodyLimits],
        *,
        period_s: float,
        start: Row,
        hits: Counter[str],
    ) -> None:
        self._joints = {
            index: JointLimiter(limits, period_s, float(start[index]), hits)
            for index, limits in joints.items()
            if not layout.is_velocity[index]
        }
        self._velocities = {
            index: VelocityLimiter(limits, period_s, hits)
            for index, limits in joints.items()
            if layout.is_velocity[index]
        }
        self._bodies: list[tuple[slice, BodyLimiter]] = []
        for key, limits in bodies.items():
            part = layout.slices[key]
            body = (
                PoseLimiter(limits, period_s, start[part], hits)
                if key in layout.poses
                else TwistLimiter(limits, period_s, hits)
            )
            self._bodies.append((part, body))
        bodies_only = (body for _, body in self._bodies)
        self._parts: list[_Limiter] = [
            *self._joints.values(),
            *self._velocities.values(),
            *bodies_only,
        ]

    @property
    def is_at_rest(self) -> bool:
        """Whether all commands have come to a standstill."""
        return all(part.is_at_rest for part in self._parts)

    @property
    def is_following(self) -> bool:
        """Whether all of the last commands were what was wanted, as far as the ranges allow it."""
        return all(part.is_following for part in self._parts)

    @property
    def braking_s(self) -> float:
        """How long all of it takes to come to rest from the last command on, s."""
        return max((part.braking_s for part in self._parts), default=0.0)

    def bound_by(self) -> dict[int, str]:
        """The joints whose last command a limit changed, and the name of that limit."""
        joints = ((index, joint.bound_by) for index, joint in self._joints.items())
        velocities = ((index, joint.bound_by) for index, joint in self._velocities.items())
        return {index: name for index, name in (*joints, *velocities) if name}

    def follow(self, path: Path) -> Row:
        """The commands of this tick towards a path; ``path(0)`` belongs to this tick."""
        vector = np.array(path(0))
        for index, joint in self._joints.items():
            vector[index] = joint.follow(partial(_value, path, index))
        for index, velocity in self._velocities.items():
            vector[index] = velocity.follow(partial(_value, path, index))
        for part, body in self._bodies:
            vector[part] = body.follow(partial(_part, path, part))
        return vector

    def yield_to(self, vector: Row) -> Row:
        """The commands of this tick on the way to rest where somebody else has moved the robot."""
        vector = np.array(vector)
        for index, joint in self._joints.items():
            vector[index] = joint.yield_to(float(vector[index]))
        for index, velocity in self._velocities.items():
            vector[index] = velocity.brake()
        for part, body in self._bodies:
            vector[part] = body.follow(partial(_still, np.array(vector[part])))
        return vector

    def brake(self, vector: Row) -> Row:
        """The commands of this tick on the way to a standstill; a copy of `vector` elsewhere."""
        vector = np.array(vector)
        for index, joint in self._joints.items():
            vector[index] = joint.brake()
        for index, velocity in self._velocities.items():
            vector[index] = velocity.brake()
        for part, body in self._bodies:
            vector[part] = body.brake()
        return vector

    def overwrite(self, vector: Row, since_s: float) -> None:
        """Write where the commands go by themselves over those values that are held off the path.

        Args:
            vector: The path, float64 (size,); changed.
            since_s: So long after the last tick, s.
        """
        for index, joint in self._joints.items():
            if not joint.is_following:
                vector[index] = joint.position + joint.velocity * since_s
        for index, velocity in self._velocities.items():
            if not velocity.is_following:
                vector[index] = velocity.velocity
        for part, body in self._bodies:
            if not body.is_following:
                vector[part] = body.ahead(since_s)


def ramp_limits_of(
    layout: ActionLayout, joints: Mapping[int, JointLimits], bodies: Mapping[str, BodyLimits]
) -> RampLimits:
    """Far from the limits: what the chunks themselves want comes on top."""
    ramp_limits = RampLimits.none(layout.size)
    for index, limits in joints.items():
        ramp_limits.acceleration[index] = RAMP_SHARE * limits.acceleration
        ramp_limits.jerk[index] = RAMP_SHARE * limits.jerk
    for key, body in bodies.items():
        acceleration = ramp_limits.acceleration[layout.slices[key]]
        acceleration[LINEAR] = RAMP_SHARE * body.linear_acceleration
        acceleration[ANGULAR] = RAMP_SHARE * body.angular_acceleration
    return ramp_limits


def jumps(
    layout: ActionLayout, joints: Mapping[int, JointLimits], to: Row, origin: Row, limit: float
) -> Iterator[str]:
    """A sentence for each limited joint and each pose that is further than `limit`, rad and m.

    A velocity has no place to be far from.
    """
    for index in joints:
        if layout.is_velocity[index]:
            continue
        jump = abs(to[index] - origin[index])
        if jump > limit:
            name = layout.name_of(index)
            yield f"{name} would jump by {jump:.3f}, from {origin[index]:.3f} to {to[index]:.3f}"
    for key in layout.poses:
        part = layout.slices[key]
        jump_m, turn_rad = distances(to[part], origin[part])
        if jump_m > limit:
            yield f"{key} would jump by {jump_m:.3f} m"
        if turn_rad > limit:
            yield f"{key} would turn by {turn_rad:.3f} rad"


def _value(path: Path, index: int, ticks: int) -> float:
    return float(path(ticks)[index])


def _part(path: Path, part: slice, ticks: int) -> Row:
    return path(ticks)[part]


def _still(row: Row, _: int) -> Row:
    return row
