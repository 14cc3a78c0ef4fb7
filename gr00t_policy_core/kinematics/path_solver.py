# SPDX-License-Identifier: Apache-2.0
"""Inverse kinematics of a path: a chunk of poses becomes a chunk of joint positions.

Each step starts from the one before it, moved on by the same joint motion, so that a smooth path
needs one or two iterations a step. One iteration solves

    (Jᵀ W² J + λ² I) dq = Jᵀ W² e

for the error `e` of the pose and the Jacobian `J` of the chain, both in the axes of the tool.
λ² is half the squared error and a small constant (Sugihara, "Solvability-unconcerned Inverse
Kinematics by the Levenberg-Marquardt Method", T-RO 2011): far from the pose, or where it cannot be
reached, the damping keeps the joints from running away; near it, the iteration converges like
Newton's. W weighs a radian of orientation against a metre of position. A chain of six joints or
more can have both, so the weight only sets the pace. One of fewer joints has to give something up,
and gives up orientation.

A joint that a step would push through its limit stays at the limit, and the others make up for it.
What a chain of more than six joints has left over draws it towards the measured posture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.kinematics.chain import Chain
from gr00t_policy_core.kinematics.solved_path import (
    PathLimits,
    SolvedPath,
    Unreachable,
    manipulability,
)

Array = NDArray[np.float64]

LEVER_M = 0.3  # m that a radian counts for: about a forearm
SHORT_CHAIN_LEVER_M = 0.02  # the same for a chain that cannot have every orientation
DAMPING = 1e-6  # least λ², m²
# A pose is met when it is closer than this, far below what any robot repeats.
MET_M, MET_RAD = 2e-5, 1e-4
STALLED = 1e-7  # rad (or m), an iteration that moves no joint further changes nothing
MAX_STEP = 0.3  # rad (or m), that one iteration moves a joint at most
ITERATIONS, FIRST_ITERATIONS = 15, 60
POSTURE_SHARE = 0.05  # of the way to the measured posture that each step may go
# A joint that would have to move this much faster than its limit has jumped to another posture.
JUMP_SHARE = 2.0


@dataclass(frozen=True, slots=True)
class _Iterate:
    """The joints (n,), the error (6,) that is left there, the Jacobian (6, n), and its number."""

    joints: Array
    error: Array
    jacobian: Array
    number: int = 0


class PathSolver:
    """Solves chunks of poses for the joints of a chain.

    Args:
        chain: The joints, and the tool whose poses are given.
        limits: The ranges that the joints keep, and the errors that a pose may be met with.
    """

    def __init__(self, chain: Chain, limits: PathLimits) -> None:
        self._chain = chain
        self._limits = limits
        lever_m = LEVER_M if chain.size >= 6 else SHORT_CHAIN_LEVER_M
        self._weights = np.array([1.0, 1.0, 1.0, lever_m, lever_m, lever_m])
        self._identity = np.identity(chain.size)
        self._has_freedom = chain.size > 6
        reach_m = float(chain.levers.max())
        self._reach_m = reach_m if 0.0 < reach_m < math.inf else 1.0

    def solve(self, poses: Array, measured: Array, step_s: float) -> SolvedPath:
        """Solve the steps of a path one after the other, up to one that cannot be reached.

        Args:
            poses: Poses of the tool in the base, float64 (horizon, 7): x y z, m, and a unit
                quaternion x y z w.
            measured: Positions of the joints at the beginning, float64 (n,), rad (or m).
            step_s: Time between two poses, s.
        """
        iterates: list[_Iterate] = []
        joints = before = np.clip(measured, self._limits.lower, self._limits.upper)
        problem: Unreachable | None = None
        for step, pose in enumerate(poses):
            guess = self._clipped(2.0 * joints - before)
            iterate = self._solved(pose, guess, measured, is_first=step == 0)
            problem = self._problem(iterate, joints, step, step_s)
            if problem is not None:
                break
            iterates.append(iterate)
            before = joints if step else iterate.joints
            joints = iterate.joints
        errors = np.array([i.error for i in iterates]).reshape(-1, 6)
        jacobians = np.array([i.jacobian for i in iterates]).reshape(-1, 6, self._chain.size)
        return SolvedPath(
            joints=np.array([i.joints for i in iterates]).reshape(-1, self._chain.size),
            position_errors_m=np.linalg.norm(errors[:, :3], axis=1),
            orientation_errors_rad=np.linalg.norm(errors[:, 3:], axis=1),
            manipulability=manipulability(jacobians, self._reach_m),
            horizon=len(poses),
            iterations=sum(iterate.number for iterate in iterates),
            step_s=step_s,
            problem=problem,
        )

    def _solved(self, pose: Array, guess: Array, measured: Array, *, is_first: bool) -> _Iterate:
        target = self._chain.placement_of(pose)
        posture = np.zeros(self._chain.size)
        if self._has_freedom:
            posture = POSTURE_SHARE * (measured - guess)
        iterate = self._iterate(guess, target)
        for _ in range(FIRST_ITERATIONS if is_first else ITERATIONS):
            if _is_met(iterate.error):
                break
            moved = self._moved(iterate, posture)
            posture = np.zeros(self._chain.size)
            has_stalled = float(np.abs(moved - iterate.joints).max()) < STALLED
            iterate = self._iterate(moved, target, iterate.number + 1)
            if has_stalled:
                break
        return iterate

    def _iterate(self, joints: Array, target: object, number: int = 0) -> _Iterate:
        jacobian = self._chain.jacobian(joints)
        error = self._chain.error(self._chain.placement(joints), target)
        return _Iterate(joints, error, jacobian, number)

    def _moved(self, iterate: _Iterate, posture: Array) -> Array:
        """The joints after one iteration.

        Args:
            iterate: Where the joints are.
            posture: How far to draw them to the measured posture where the pose leaves it open,
                float64 (n,), rad (or m).
        """
        jacobian = self._weights[:, None] * iterate.jacobian
        error = self._weights * iterate.error
        damping = 0.5 * float(error @ error) + DAMPING
        error = error - jacobian @ posture
        step = np.linalg.solve(jacobian.T @ jacobian + damping * self._identity, jacobian.T @ error)
        step += posture
        largest = float(np.abs(step).max())
        if largest > MAX_STEP:
            step *= MAX_STEP / largest
        wanted = iterate.joints + step
        kept = self._clipped(wanted)
        if (kept != wanted).any():
            kept = self._moved_within(iterate.joints, jacobian, error, damping, kept, wanted)
        return kept

    def _moved_within(
        self,
        joints: Array,
        jacobian: Array,
        error: Array,
        damping: float,
        kept: Array,
        wanted: Array,
    ) -> Array:
        """The joints after one iteration in which some stop at their limits.

        Args:
            joints: Where they are, float64 (n,).
            jacobian, error: Weighted, float64 (6, n) and (6,).
            damping: λ².
            kept, wanted: Where they would go, with and without their limits, float64 (n,).
        """
        free = kept == wanted
        step = kept - joints
        left = jacobian[:, free]
        error = error - jacobian[:, ~free] @ step[~free]
        size = int(free.sum())
        step[free] = np.linalg.solve(left.T @ left + damping * np.identity(size), left.T @ error)
        return self._clipped(joints + np.clip(step, -MAX_STEP, MAX_STEP))

    def _problem(
        self, iterate: _Iterate, before: Array, step: int, step_s: float
    ) -> Unreachable | None:
        limits = self._limits
        position_m = float(np.linalg.norm(iterate.error[:3]))
        orientation_rad = float(np.linalg.norm(iterate.error[3:]))
        if position_m > limits.position_m or orientation_rad > limits.orientation_rad:
            return Unreachable(
                step=step,
                what=f"{1000 * position_m:.1f} mm and {orientation_rad:.3f} rad out of reach",
                at_limit=self._at_limit(iterate.joints),
                manipulability=self._manipulability(iterate),
            )
        moved = np.abs(iterate.joints - before)
        allowed = JUMP_SHARE * limits.velocity * step_s
        if step and (moved > allowed).any():
            worst = int(np.argmax(moved - allowed))
            name = self._chain.joints[worst]
            what = (
                f"{name} would jump by {moved[worst]:.2f} rad in a step of {step_s:.3g} s, its "
                f"velocity limit allows {limits.velocity[worst] * step_s:.2g}"
            )
            return Unreachable(step, what, (), self._manipulability(iterate))
        return None

    def _manipulability(self, iterate: _Iterate) -> float:
        return float(manipulability(iterate.jacobian[None], self._reach_m)[0])

    def _at_limit(self, joints: Array) -> tuple[str, ...]:
        lower, upper = self._limits.lower, self._limits.upper
        is_there = (joints <= lower) | (joints >= upper)
        names = zip(self._chain.joints, is_there, strict=True)
        return tuple(name for name, there in names if there)

    def _clipped(self, joints: Array) -> Array:
        return np.minimum(np.maximum(joints, self._limits.lower), self._limits.upper)


def _is_met(error: Array) -> bool:
    linear, angular = error[:3], error[3:]
    return bool(linear @ linear < MET_M**2 and angular @ angular < MET_RAD**2)
