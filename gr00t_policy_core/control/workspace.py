# SPDX-License-Identifier: Apache-2.0
"""A box and a floor that the tip of an arm never leaves, whatever the joints are commanded to.

The limits of joints bound a tip only roughly, so the guard asks one question of every command: if
all joints braked from here, would the tip stay inside on the way to rest? If it would, the command
is sent. If not, the joints brake at this tick instead, on the way that was checked one tick ago:

    Let B(s) be the way to rest from state s: every joint slowed down by `JointLimiter.brake`, as
    fast as its acceleration and jerk allow. State s is *safe* if the tip is inside at every tick of
    B(s). At rest inside, B(s) is one point: safe. From a safe state, the guard goes to a state that
    it has found safe, or one tick along B(s), and what is left of B(s) is B of the new state, since
    the fastest way to rest does not change on the way. So every state is safe, and every command
    is inside: the speed with which a limit is approached is taken into account, and so is the
    jerk that braking cannot exceed.

Braking of all joints together is also what every other stop does (`MotionPlayer.hold`, a lost
observation, a deactivation), so none of them leaves the workspace either.

To follow B(s) costs one evaluation of the kinematics for each tick of it, some twenty for a quick
arm. Most commands are far from every side, and pass by one: no joint moves its tip by more than its
lever times the way to rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limiter import JointLimiter

# Kept from every side, m: more than what rounding, and planning a way to rest again at each of its
# ticks, may move a tip by.
MARGIN_M = 1e-6
# How far outside a tip may be measured before motion is refused, m: an arm sags.
OUTSIDE_TOLERANCE_M = 0.01
# Of a way to rest that is followed, which takes some 10 us each; a longer one counts as leaving.
MAX_TICKS = 1_000


class TipKinematics(Protocol):
    """Where the joints of an arm put its tip."""

    @property
    def levers(self) -> Row:
        """The most that the tip moves for each joint, float64 (n,), m per rad (or m)."""

    def position(self, joints: Row) -> Row:
        """The tip in the base, float64 (3,), m, for joint positions (n,), rad (or m)."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a workspace: the tip is inside while ``normal · tip >= offset_m``.

    Args:
        name: ``floor``, ``x_min`` and the like.
        normal: Unit vector that points inside.
        offset_m: Where the side is along `normal`, m.
    """

    name: str
    normal: tuple[float, float, float]
    offset_m: float

    @property
    def text(self) -> str:
        """Its name and its bound: ``x_max (0.800 m)``."""
        sign = -1.0 if self.name.endswith("_max") else 1.0  # given along the negative axis
        return f"{self.name} ({self.offset_m * sign:.3f} m)"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where the tip of one arm may be.

    Args:
        name: Names it in reasons.
        indices: Where the joints of the arm lie in the vector of commands.
        tip: Its kinematics.
        sides: Box and floor, in the base of the kinematics.
    """

    name: str
    indices: tuple[int, ...]
    tip: TipKinematics
    sides: tuple[Side, ...]

    def outside(self, vector: Row) -> Iterator[str]:
        """Yield a sentence for each side that the tip is beyond by more than the tolerance.

        Args:
            vector: Where the robot is, float64 (size,).
        """
        tip = self.tip.position(vector[list(self.indices)])
        yield from sides_left(self.sides, tip, f"the tip of {self.name}")


def sides_left(sides: Iterable[Side], point: Row, name: str) -> Iterator[str]:
    """Yield a sentence for each side that a point is beyond by more than the tolerance.

    Args:
        sides: The sides of a workspace.
        point: In the frame of the sides, float64 (3,), m.
        name: What is there, in the sentences.
    """
    for side in sides:
        beyond_m = side.offset_m - float(np.dot(side.normal, point))
        if beyond_m > OUTSIDE_TOLERANCE_M:
            yield (
                f"{name} is {beyond_m:.3f} m outside, beyond {side.name}, at {point_text(point)}"
            )


def box_sides(lower: Sequence[float], upper: Sequence[float]) -> Iterator[Side]:
    """Yield the sides of a box, m; an infinite bound has none."""
    for axis, name in enumerate("xyz"):
        direction = [0.0, 0.0, 0.0]
        direction[axis] = 1.0
        x, y, z = direction
        if math.isfinite(lower[axis]):
            yield Side(f"{name}_min", (x, y, z), lower[axis])
        if math.isfinite(upper[axis]):
            yield Side(f"{name}_max", (-x, -y, -z), -upper[axis])


def floor_side(a: float, b: float, c: float, d: float) -> Side:
    """The side of a floor: points with ``a x + b y + c z >= d`` are inside.

    Raises:
        ValueError: The normal a b c has length zero.
    """
    length = math.sqrt(a * a + b * b + c * c)
    if length < 1e-9:
        raise ValueError("the normal of a floor has length 0")
    return Side("floor", (a / length, b / length, c / length), d / length)


class WorkspaceGuard:
    """Decides whether the commands of a tick keep every tip able to stop inside its workspace.

    A tip that begins outside may go further inside, and not further out.

    Args:
        workspaces: The workspaces; none guard nothing.
        joints: The limiters of all joints, by their index in the vector.
        period_s: Time between two commands, s.
        start: Where the robot stands, float64 (size,).
    """

    def __init__(
        self,
        workspaces: Sequence[Workspace],
        joints: Mapping[int, JointLimiter],
        period_s: float,
        start: Row,
    ) -> None:
        self._arms = [
            _GuardedArm(space, [joints[index] for index in space.indices], period_s)
            for space in workspaces
        ]
        self.allow(start)

    def allow(self, vector: Row) -> None:
        """Let every tip be where it is now, even if that is outside: somebody has moved it there.

        Args:
            vector: The commands of this tick, float64 (size,).
        """
        for arm in self._arms:
            arm.allow(vector)

    def why_to_brake(self, vector: Row) -> str:
        """Say which tip could not stop inside after these commands; empty where all could.

        Args:
            vector: The commands of this tick, float64 (size,), which the limiters have made.
        """
        return next(filter(None, (arm.why_to_brake(vector) for arm in self._arms)), "")


class _GuardedArm:
    """One workspace, with the limiters of its joints.

    Args:
        workspace: Where the tip may be.
        joints: The limiters of its joints, in their order.
        period_s: Time between two commands, s.
    """

    def __init__(
        self, workspace: Workspace, joints: Sequence[JointLimiter], period_s: float
    ) -> None:
        self._workspace = workspace
        self._joints = joints
        self._period_s = period_s
        self._indices = list(workspace.indices)
        self._levers = workspace.tip.levers
        self._normals = np.array([side.normal for side in workspace.sides]).reshape(-1, 3)
        self._given = np.array([side.offset_m for side in workspace.sides]) + MARGIN_M
        self._offsets = self._given

    def allow(self, vector: Row) -> None:
        """Move every side out to the tip, where it is outside, and not a micrometre further.

        A tip that is pushed against a side rests there again and again: it would creep out.
        """
        self._offsets = np.minimum(self._offsets, self._heights(vector[self._indices]))

    def why_to_brake(self, vector: Row) -> str:
        """Say which side the tip would cross on its way to rest; empty where none."""
        gaps = self._heights(vector[self._indices]) - self._offsets
        room = float(self._levers @ [joint.stopping_room for joint in self._joints])
        if float(gaps.min(initial=math.inf)) > room:
            self._restore(gaps - room)
            return ""
        ways = [joint.way_to_rest() for joint in self._joints]
        ticks = math.ceil(max(way.duration_s for way in ways) / self._period_s) + 1
        if ticks > MAX_TICKS:
            return self._reason(int(np.argmin(gaps)), vector)
        lowest = gaps
        for tick in range(1, ticks + 1):
            stop = np.array([way.at(tick * self._period_s) for way in ways])
            lowest = np.minimum(lowest, self._heights(stop) - self._offsets)
        if not (lowest >= 0.0).all():  # nor where it is not known
            return self._reason(int(np.argmin(lowest)), vector)
        self._restore(lowest)
        return ""

    def _restore(self, lowest: Row) -> None:
        """Put each side back that the tip stays inside of from here on.

        Args:
            lowest: How far inside the tip stays on its way to rest, at least, float64 (sides,), m.
        """
        is_inside = self._offsets + lowest >= self._given
        self._offsets = np.where(is_inside, self._given, self._offsets)

    def _heights(self, joints: Row) -> Row:
        """How far along the normal of each side the tip is, float64 (sides,), m."""
        return np.asarray(self._normals @ self._workspace.tip.position(joints))

    def _reason(self, side: int, vector: Row) -> str:
        tip = self._workspace.tip.position(vector[self._indices])
        name, beyond = self._workspace.name, self._workspace.sides[side]
        return (
            f"the tip of {name} cannot go further: it would cross {beyond.text}, and is at "
            f"{point_text(tip)}"
        )


def point_text(point: Row) -> str:
    """A point, float64 (3,), m, as reasons name it."""
    x, y, z = point.tolist()
    return f"x {x:.3f}, y {y:.3f}, z {z:.3f} m"
