# SPDX-License-Identifier: Apache-2.0
"""A box and a floor that a commanded pose never leaves.

A pose brakes on a straight line (`PoseLimiter.brake`), and box and floor are convex: it stays
inside on the way to rest if it is inside now and where it comes to rest. As in `workspace`, a
command from which it could not stop inside is not sent, and the pose brakes at that tick instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.action_layout import LINEAR
from gr00t_policy_core.control.body_limiter import PoseLimiter
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.workspace import MARGIN_M, Side, point_text, sides_left


@dataclass(frozen=True, slots=True)
class BodyWorkspace:
    """Where one commanded pose may be.

    Args:
        name: Names the action in reasons.
        key: Its action key.
        part: Where the pose lies in the vector of commands.
        sides: Box and floor, in the frame of the pose.
    """

    name: str
    key: str
    part: slice
    sides: tuple[Side, ...]

    def outside(self, vector: Row) -> Iterator[str]:
        """Yield a sentence for each side that the pose is beyond by more than the tolerance.

        Args:
            vector: Where the robot is, float64 (size,).
        """
        yield from sides_left(self.sides, vector[self.part][LINEAR], f"the pose of {self.name}")


class BodyGuard:
    """Decides whether one pose can still stop inside its workspace.

    A pose that begins outside may go further inside, and not further out.

    Args:
        workspace: Where the pose may be.
        limiter: Makes its commands.
    """

    def __init__(self, workspace: BodyWorkspace, limiter: PoseLimiter) -> None:
        self._workspace = workspace
        self._limiter = limiter
        self._normals = np.array([side.normal for side in workspace.sides]).reshape(-1, 3)
        self._given = np.array([side.offset_m for side in workspace.sides]) + MARGIN_M
        self._offsets = self._given
        self.allow()

    def allow(self) -> None:
        """Let the pose be where it is now, even if that is outside: somebody has moved it there."""
        heights = self._normals @ self._limiter.position
        self._offsets = np.minimum(self._offsets, heights)

    def why_to_brake(self) -> str:
        """Say which side the pose would cross on its way to rest; empty where none."""
        ends: Sequence[Row] = (self._limiter.position, self._limiter.resting_position)
        lowest = np.min([self._normals @ end for end in ends], axis=0)
        if not float((lowest - self._offsets).min(initial=math.inf)) >= 0.0:
            side = self._workspace.sides[int(np.argmin(lowest - self._offsets))]
            return (
                f"the pose of {self._workspace.name} cannot go further: it would cross "
                f"{side.text}, and is at {point_text(self._limiter.position)}"
            )
        self._offsets = np.where(lowest >= self._given, self._given, self._offsets)
        return ""
