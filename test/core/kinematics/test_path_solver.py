# SPDX-License-Identifier: Apache-2.0
"""Chunks of poses become joints that meet them, inside every limit, or the step is named."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("pinocchio", reason="computes the kinematics")
from bench.arms import Arm, real_arms, seven_joint_arm
from gr00t_policy_core import rotation
from gr00t_policy_core.kinematics.chain import Chain
from gr00t_policy_core.kinematics.path_solver import PathSolver
from gr00t_policy_core.kinematics.solved_path import PathLimits

STEP_S = 1.0 / 30.0
HORIZON = 40
ARMS = [
    seven_joint_arm(),
    *(real_arms() or [pytest.param(None, marks=pytest.mark.skip("no example-robot-data"))]),
]


def name_of(arm: Arm | None) -> str:
    return arm.name if arm is not None else "real arms"


def chain_of(arm: Arm) -> Chain:
    return Chain(arm.urdf, arm.base, arm.tip)


def limits_of(chain: Chain, **changes: object) -> PathLimits:
    values = {
        "lower": np.array([limit.lower for limit in chain.limits]),
        "upper": np.array([limit.upper for limit in chain.limits]),
        "velocity": np.array([min(limit.velocity, 3.0) for limit in chain.limits]),
        "position_m": 0.001,
        "orientation_rad": 0.005,
    }
    return PathLimits(**{**values, **changes})  # type: ignore[arg-type]


def poses_of(chain: Chain, joints: np.ndarray) -> np.ndarray:
    return np.array([chain.pose(row) for row in joints])


def swing(arm: Arm, chain: Chain) -> np.ndarray:
    """Every joint swings a little at its own rate, (horizon, n)."""
    time_s = STEP_S * np.arange(HORIZON)[:, None]
    rates = 1.0 + 0.3 * np.arange(chain.size)
    return np.array(arm.home) + 0.2 * np.sin(rates * time_s)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    conjugate = other * np.array([-1.0, -1.0, -1.0, 1.0])
    turn = rotation.quaternion_product(one, conjugate)
    return float(np.linalg.norm(rotation.rotvec_from_quaternion(turn)))


@pytest.mark.parametrize("arm", ARMS, ids=name_of)
def test_a_reachable_path_is_met_inside_the_limits(arm: Arm) -> None:
    chain = chain_of(arm)
    wanted = poses_of(chain, swing(arm, chain))
    limits = limits_of(chain)

    path = PathSolver(chain, limits).solve(wanted, np.array(arm.home), STEP_S)

    assert path.why_it_ends() == ""
    assert path.steps == HORIZON
    assert (path.joints >= limits.lower).all()
    assert (path.joints <= limits.upper).all()
    for pose, want in zip(poses_of(chain, path.joints), wanted, strict=True):
        assert np.linalg.norm(pose[:3] - want[:3]) < 1e-3
        assert angle(pose[3:], want[3:]) < 5e-3
    assert path.position_errors_m.max() < 1e-3
    assert (np.abs(np.diff(path.joints, axis=0)) < limits.velocity * STEP_S).all()


def test_the_joints_left_over_stay_near_the_measured_posture() -> None:
    arm = seven_joint_arm()
    chain = chain_of(arm)
    pose = chain.pose(np.array(arm.home))
    still = np.repeat(pose[None], HORIZON, axis=0)
    apart = np.array(arm.home) + np.array([0.3, 0.0, -0.3, 0.0, 0.0, 0.0, 0.0])
    solver = PathSolver(chain, limits_of(chain))

    drifted = solver.solve(still, apart, STEP_S).joints

    again = solver.solve(still, np.array(arm.home), STEP_S).joints
    assert_allclose(again[-1], arm.home, atol=1e-3)  # nothing drifts
    assert np.abs(drifted[-1] - apart).max() <= np.abs(drifted[0] - apart).max() + 1e-3


def test_the_first_step_out_of_reach_is_named_with_its_distance() -> None:
    arm = seven_joint_arm()
    chain = chain_of(arm)
    poses = np.repeat(chain.pose(np.array(arm.home))[None], HORIZON, axis=0)
    poses[:, 0] += 0.03 * np.arange(HORIZON)

    quick = limits_of(chain, velocity=np.full(7, 50.0))

    path = PathSolver(chain, quick).solve(poses, np.array(arm.home), STEP_S)

    assert path.problem is not None
    assert 5 < path.steps == path.problem.step < HORIZON
    why = path.why_it_ends()
    assert why.startswith(f"step {path.steps} of 40 ({path.steps * STEP_S:.2f} s) is unreachable: ")
    assert "rad out of reach" in why
    assert path.position_errors_m.max() < 1e-3  # of the steps before it


def test_a_joint_at_its_limit_is_named() -> None:
    arm = seven_joint_arm()
    chain = chain_of(arm)
    limits = limits_of(chain, velocity=np.full(7, 50.0))
    limits.upper[6] = 0.9
    limits.lower[6] = 0.7
    turned = np.array(
        [
            rotation.quaternion_from_rotvec(np.array([0, 0, a]))
            for a in np.linspace(0.0, 2.5, HORIZON)
        ]
    )
    pose = chain.pose(np.array(arm.home))
    poses = np.repeat(pose[None], HORIZON, axis=0)
    poses[:, 3:] = rotation.quaternion_product(poses[:, 3:], turned)

    path = PathSolver(chain, limits).solve(poses, np.array(arm.home), STEP_S)

    assert "joint7" in path.why_it_ends()
    assert (path.joints[:, 6] <= 0.9).all()
    assert (path.joints[:, 6] >= 0.7).all()


def test_a_jump_of_the_posture_is_named_with_the_joint() -> None:
    arm = seven_joint_arm()
    chain = chain_of(arm)
    joints = swing(arm, chain)
    joints[20:, 0] += 1.0
    slow = limits_of(chain, velocity=np.full(7, 1.0))

    path = PathSolver(chain, slow).solve(poses_of(chain, joints), np.array(arm.home), STEP_S)

    assert path.steps == 20
    assert "would jump by" in path.why_it_ends()
    assert "its velocity limit allows 0.033" in path.why_it_ends()


def test_a_singular_posture_is_named() -> None:
    arm = seven_joint_arm()
    chain = chain_of(arm)
    singular = np.array([0.0, 0.0, 1.57, -2.0, 0.0, 0.0, 0.0])
    poses = np.repeat(chain.pose(singular)[None], 5, axis=0)

    path = PathSolver(chain, limits_of(chain)).solve(poses, singular, STEP_S)

    assert path.steps == 5
    assert path.near_singular().startswith("near-singular from step 0 to 4 of 5 (manipulability 0")
    at_home = poses_of(chain, np.array([arm.home] * 5))
    assert (
        PathSolver(chain, limits_of(chain))
        .solve(at_home, np.array(arm.home), STEP_S)
        .near_singular()
        == ""
    )


def test_an_arm_of_five_joints_gives_up_orientation_and_not_position() -> None:
    if not real_arms():
        pytest.skip("no example-robot-data")
    arm = real_arms()[0]
    chain = chain_of(arm)
    wanted = poses_of(chain, swing(arm, chain))
    tilt = rotation.quaternion_from_rotvec(np.array([0.03, 0.03, 0.03]))
    wanted[:, 3:] = rotation.quaternion_product(wanted[:, 3:], tilt)
    limits = limits_of(chain, orientation_rad=0.1)

    path = PathSolver(chain, limits).solve(wanted, np.array(arm.home), STEP_S)

    assert path.why_it_ends() == ""
    assert path.position_errors_m.max() < 1e-3
    assert path.orientation_errors_rad.max() > 5e-3
