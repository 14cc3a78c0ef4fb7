# SPDX-License-Identifier: Apache-2.0
"""What the inverse kinematics of a path has found: joint positions, and how good they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Below this manipulability an arm is near-singular. Of random postures of a Panda, an SO-101 and a
# G1's arm, half are above 0.08 and one in ten to twenty is below 0.01 (measured).
NEAR_SINGULAR = 0.01


@dataclass(frozen=True, slots=True)
class PathLimits:
    """What a solved path keeps.

    Args:
        lower, upper: The range of each joint, float64 (n,), rad (or m).
        velocity: The largest velocity of each joint, float64 (n,), rad/s (or m/s): a path on which
            a joint would have to be much faster has jumped to another posture.
        position_m, orientation_rad: How far a pose may be missed.
    """

    lower: Array
    upper: Array
    velocity: Array
    position_m: float
    orientation_rad: float


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why the path ends at a step.

    Args:
        step: The first step that is not solved.
        what: What is wrong with it.
        at_limit: The joints that stand at their limits there.
        manipulability: As in `SolvedPath`.
    """

    step: int
    what: str
    at_limit: tuple[str, ...]
    manipulability: float

    def causes(self) -> Iterator[str]:
        """Yield what may explain it."""
        yield self.what
        if self.at_limit:
            yield f"at its limit: {', '.join(self.at_limit)}"
        if self.manipulability < NEAR_SINGULAR:
            yield f"near-singular (manipulability {self.manipulability:.4f})"


@dataclass(frozen=True, slots=True)
class SolvedPath:
    """The steps of a path up to one that cannot be reached.

    Args:
        joints: Positions of the joints, float64 (steps, n), rad (or m).
        position_errors_m: How far each step misses its position, float64 (steps,).
        orientation_errors_rad: How far it misses its orientation, float64 (steps,).
        manipulability: float64 (steps,), see `manipulability`.
        horizon: The number of steps of the path.
        step_s: Time between two steps, s.
        iterations: How many iterations all steps took.
        problem: Why the path ends before its last step; None where it does not.
    """

    joints: Array
    position_errors_m: Array
    orientation_errors_rad: Array
    manipulability: Array
    horizon: int
    step_s: float
    iterations: int
    problem: Unreachable | None

    @property
    def steps(self) -> int:
        """The number of steps that were solved."""
        return len(self.joints)

    def why_it_ends(self) -> str:
        """Say which step cannot be reached, and why; empty where all of them can."""
        if self.problem is None:
            return ""
        step = self.problem.step
        causes = "; ".join(self.problem.causes())
        place = f"step {step} of {self.horizon} ({step * self.step_s:.2f} s)"
        return f"{place} is unreachable: {causes}"

    def near_singular(self) -> str:
        """Say which steps are near-singular; empty where none is."""
        near = np.flatnonzero(self.manipulability < NEAR_SINGULAR)
        if not len(near):
            return ""
        lowest = float(self.manipulability[near].min())
        return (
            f"near-singular from step {near[0]} to {near[-1]} of {self.horizon} (manipulability "
            f"{lowest:.4f})"
        )


def manipulability(jacobians: Array, reach_m: float) -> Array:
    """How far the tool moves in its worst direction, float64 (steps,); 0 in a singular posture.

    It is the smallest singular value of each Jacobian, with lengths in units of the reach.

    Args:
        jacobians: float64 (steps, 6, n), m and rad per rad (or m).
        reach_m: The largest distance of the tool from a joint, m.
    """
    if not len(jacobians):
        return np.zeros(0)
    scale = np.array([[1.0 / reach_m]] * 3 + [[1.0]] * 3)
    return np.asarray(np.linalg.svd(scale * jacobians, compute_uv=False)[:, -1])
