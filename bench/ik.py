# SPDX-License-Identifier: Apache-2.0
"""`make bench-ik`: the time to solve a chunk of poses, beside the bare loop of Pinocchio.

The bare loop does as many iterations, each with the Jacobian, the error and one damped solution,
and nothing else: no limits, no posture, no report. Times are those of one thread's CPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.arms import Arm, real_arms, seven_joint_arm
from gr00t_policy_core.kinematics.chain import Chain, load_pinocchio
from gr00t_policy_core.kinematics.path_solver import PathSolver
from gr00t_policy_core.kinematics.solved_path import PathLimits

HORIZON, STEP_S = 40, 1.0 / 30.0
DAMPING = 1e-6
REPETITIONS = 200
BUDGET_MS = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: times in ms for one chunk."""

    name: str
    joints: int
    iterations: int
    median_ms: float
    worst_ms: float
    bare_ms: float


def main() -> int:
    """Print the table; returns 1 where a median is over the budget."""
    parser = argparse.ArgumentParser(prog="bench.ik", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="chunks of each arm")
    repetitions = parser.parse_args().repetitions
    rows = [measure(arm, repetitions) for arm in (seven_joint_arm(), *real_arms())]
    write = sys.stdout.write
    write(f"{HORIZON} steps, {repetitions} chunks of each arm, CPU time of one thread\n\n")
    write("| arm | joints | iterations | median, ms | worst, ms | bare loop of Pinocchio, ms |\n")
    write("|---|---|---|---|---|---|\n")
    for row in rows:
        write(
            f"| {row.name} | {row.joints} | {row.iterations} | {row.median_ms:.2f} | "
            f"{row.worst_ms:.2f} | {row.bare_ms:.2f} |\n"
        )
    return int(any(row.median_ms > BUDGET_MS for row in rows))


def measure(arm: Arm, repetitions: int) -> Row:
    """Measure the chunks of one arm: a swing of all joints about its home."""
    chain = Chain(arm.urdf, arm.base, arm.tip)
    home = np.array(arm.home, dtype=np.float64)
    rates = 1.0 + 0.3 * np.arange(chain.size)
    swing = home + 0.3 * np.sin(rates * STEP_S * np.arange(HORIZON)[:, None])
    poses = np.array([chain.pose(joints) for joints in swing])
    limits = PathLimits(
        lower=np.array([limit.lower for limit in chain.limits]),
        upper=np.array([limit.upper for limit in chain.limits]),
        velocity=np.array([limit.velocity for limit in chain.limits]),
        position_m=0.001,
        orientation_rad=0.005,
    )
    solver = PathSolver(chain, limits)
    path = solver.solve(poses, home, STEP_S)
    if path.problem is not None:
        raise ValueError(f"{arm.name}: {path.why_it_ends()}")
    times_ms = _times_ms(lambda: solver.solve(poses, home, STEP_S), repetitions)
    bare_ms = _times_ms(lambda: _bare(chain, poses, swing, path.iterations), repetitions)
    return Row(
        arm.name,
        chain.size,
        path.iterations,
        float(np.median(times_ms)),
        max(times_ms),
        float(np.median(bare_ms)),
    )


def _bare(chain: Chain, poses: np.ndarray, joints: np.ndarray, iterations: int) -> None:
    pin = load_pinocchio()
    identity = DAMPING * np.identity(6)
    for number in range(iterations):
        step = number % len(poses)
        jacobian = chain.jacobian(joints[step])
        target = chain.placement_of(poses[step])
        error = pin.log6(chain.placement(joints[step]).actInv(target)).vector
        jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + identity, error)


def _times_ms(run: Callable[[], object], repetitions: int) -> list[float]:
    run()
    times_ms = []
    for _ in range(repetitions):
        begun_s = time.thread_time()
        run()
        times_ms.append(1000.0 * (time.thread_time() - begun_s))
    return times_ms


if __name__ == "__main__":
    sys.exit(main())
