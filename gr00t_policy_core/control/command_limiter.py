# SPDX-License-Identifier: Apache-2.0
"""All limits of a robot at once: its joints, and the bodies that are commanded in space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.body_limiter import BodyLimiter, PoseLimiter, TwistLimiter
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.body_workspace import BodyGuard, BodyWorkspace
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limiter import JointLimiter
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.velocity_limiter import VelocityLimiter
from gr00t_policy_core.control.workspace import Workspace, WorkspaceGuard

PathByTick = Callable[[int], Row]
"""The path in a number of ticks from now, float64 (size,)."""


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
        layout: Says where the joints and bodies lie in the vector.
        joints: Limits of joints, by their index in the vector; those that the layout calls
            velocities are limited as velocities, without regard to their range.
        bodies: Limits of poses and twists, by their action key.
        period_s: Time between two commands, s.
        start: Where the robot stands, float64 (size,).
        limit_hits: Counts the ticks in which a limit changed a command, by the limit's name.
        workspaces: What the tips of arms never leave; all their joints have limits.
        body_workspaces: What poses never leave; all of them have limits.
    """

    def __init__(
        self,
        layout: ActionLayout,
        joints: Mapping[int, JointLimits],
        bodies: Mapping[str, BodyLimits],
        *,
        period_s: float,
        start: Row,
        limit_hits: Counter[str],
        workspaces: Sequence[Workspace] = (),
        body_workspaces: Sequence[BodyWorkspace] = (),
    ) -> None:
        self._limit_hits = limit_hits
        self._why_braked = ""
        self._joints = {
            index: JointLimiter(limits, period_s, float(start[index]), limit_hits)
            for index, limits in joints.items()
            if not layout.is_velocity[index]
        }
        self._velocities = {
            index: VelocityLimiter(limits, period_s, limit_hits)
            for index, limits in joints.items()
            if layout.is_velocity[index]
        }
        self._guard = WorkspaceGuard(workspaces, self._joints, period_s, start)
        self._lowest, self._highest = np.full(layout.size, -np.inf), np.full(layout.size, np.inf)
        for index in self._joints:
            self._lowest[index], self._highest[index] = joints[index].lower, joints[index].upper
        self._poses = {
            key: PoseLimiter(limits, period_s, start[layout.slices[key]], limit_hits)
            for key, limits in bodies.items()
            if key in layout.poses
        }
        twists = {
            key: TwistLimiter(limits, period_s, limit_hits)
            for key, limits in bodies.items()
            if key not in layout.poses
        }
        self._body_guards = [BodyGuard(one, self._poses[one.key]) for one in body_workspaces]
        of_bodies: dict[str, BodyLimiter] = {**self._poses, **twists}
        self._bodies = [(layout.slices[key], body) for key, body in of_bodies.items()]
        self._parts: list[_Limiter] = [
            *self._joints.values(),
            *self._velocities.values(),
            *of_bodies.values(),
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

    @property
    def why_braked(self) -> str:
        """The side of a workspace for which the last command braked; empty where it did not."""
        return self._why_braked

    def within_range(self, vector: Row) -> Row:
        """A vector, float64 (size,), whose joints are within their ranges."""
        return np.clip(vector, self._lowest, self._highest)

    def bound_by(self) -> dict[int, str]:
        """The joints whose last command a limit changed, and the name of that limit."""
        joints = ((index, joint.bound_by) for index, joint in self._joints.items())
        velocities = ((index, joint.bound_by) for index, joint in self._velocities.items())
        return {index: name for index, name in (*joints, *velocities) if name}

    def follow(self, path: PathByTick) -> Row:
        """The commands of this tick towards a path, float64 (size,).

        They brake where a tip or a pose could not stop inside its workspace otherwise.

        Args:
            path: Where the commands should go; ``path(0)`` belongs to this tick.
        """
        vector = np.array(path(0))
        joint_marks = {index: joint.mark() for index, joint in self._joints.items()}
        body_marks = [body.mark() for _, body in self._bodies]
        for index, joint in self._joints.items():
            vector[index] = joint.follow(partial(_value, path, index))
        for part, body in self._bodies:
            vector[part] = body.follow(partial(_part, path, part))
        why_to_brake = self._why_to_brake(vector)
        if why_to_brake:
            for index, joint in self._joints.items():
                joint.undo(joint_marks[index])
            for (_, body), mark in zip(self._bodies, body_marks, strict=True):
                body.undo(mark)
            self._limit_hits["workspace"] += 1
            vector = self.brake(path(0))
            self._why_braked = why_to_brake
            return vector
        self._why_braked = ""
        for index, velocity in self._velocities.items():
            vector[index] = velocity.follow(partial(_value, path, index))
        return vector

    def _why_to_brake(self, vector: Row) -> str:
        bodies = (guard.why_to_brake() for guard in self._body_guards)
        return self._guard.why_to_brake(vector) or next(filter(None, bodies), "")

    def yield_to(self, vector: Row) -> Row:
        """The commands of this tick on the way to rest where somebody has moved the robot.

        Args:
            vector: That place, float64 (size,); it may be outside the ranges.
        """
        vector = np.array(vector)
        for index, joint in self._joints.items():
            vector[index] = joint.yield_to(float(vector[index]))
        for index, velocity in self._velocities.items():
            vector[index] = velocity.brake()
        for part, body in self._bodies:
            vector[part] = body.follow(partial(_still, np.array(vector[part])))
        self._guard.allow(vector)
        for guard in self._body_guards:
            guard.allow()
        self._why_braked = ""
        return vector

    def brake(self, vector: Row) -> Row:
        """The commands of this tick on the fastest way to a standstill.

        Args:
            vector: What is commanded of the values without limits, float64 (size,).
        """
        vector = np.array(vector)
        self._why_braked = ""
        for index, joint in self._joints.items():
            vector[index] = joint.brake()
        for index, velocity in self._velocities.items():
            vector[index] = velocity.brake()
        for part, body in self._bodies:
            vector[part] = body.brake()
        return vector

    def extrapolate(self, path: Row, since_s: float) -> Row:
        """Where the commands go by themselves: along the path, or off it where a limit holds them.

        Args:
            path: The path at an instant, float64 (size,).
            since_s: How long that instant is after the last tick, s.

        Returns:
            float64 (size,): the path, with those values replaced that are held off it.
        """
        vector = np.array(path)
        for index, joint in self._joints.items():
            if not joint.is_following:
                vector[index] = joint.position + joint.velocity * since_s
        for index, velocity in self._velocities.items():
            if not velocity.is_following:
                vector[index] = velocity.velocity
        for part, body in self._bodies:
            if not body.is_following:
                vector[part] = body.ahead(since_s)
        return vector


def _value(path: PathByTick, index: int, ticks: int) -> float:
    return float(path(ticks)[index])


def _part(path: PathByTick, part: slice, ticks: int) -> Row:
    return path(ticks)[part]


def _still(row: Row, _: int) -> Row:
    return row
