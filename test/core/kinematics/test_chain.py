# SPDX-License-Identifier: Apache-2.0
"""The joints between two links, and where they put a tool."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core.kinematics import chain as chain_module
from gr00t_policy_core.kinematics.chain import Chain, KinematicsUnavailableError
from gr00t_policy_core.kinematics.chain_description import describe_chain


def joint(name: str, kind: str, parent: str, child: str, *, x: float = 0.0, more: str = "") -> str:
    return (
        f'<link name="{child}"/><joint name="{name}" type="{kind}"><parent link="{parent}"/>'
        f'<child link="{child}"/><origin xyz="{x} 0 0"/><axis xyz="0 0 1"/>{more}</joint>'
    )


def robot(*joints: str) -> str:
    return f'<robot name="r"><link name="world"/>{"".join(joints)}</robot>'


LIMIT = '<limit lower="-1" upper="2" velocity="3" effort="1"/>'
ARM = robot(
    joint("mount", "fixed", "world", "base", x=5.0),
    joint("shoulder", "revolute", "base", "upper", x=1.0, more=LIMIT),
    joint("elbow", "continuous", "upper", "lower", x=0.5),
    joint("rail", "prismatic", "lower", "wrist", x=0.25, more=LIMIT),
    joint("flange", "fixed", "wrist", "hand", x=0.1),
    joint("finger", "prismatic", "hand", "finger_tip", x=0.0, more=LIMIT),
)


def test_the_moving_joints_from_base_to_tip_are_found_with_their_limits() -> None:
    chain = describe_chain(ARM, "base", "hand")
    assert chain.joints == ("shoulder", "elbow", "rail")
    assert [(limit.lower, limit.upper) for limit in chain.limits] == [
        (-1.0, 2.0),
        (-math.inf, math.inf),
        (-1.0, 2.0),
    ]
    assert_allclose(chain.levers, (0.5 + 0.25 + 2.0 + 0.1, 0.25 + 2.0 + 0.1, 1.0))


@pytest.mark.parametrize(
    ("base", "tip", "why"),
    [
        ("base", "hnad", r"has no link hnad \(did you mean hand\?\)"),
        ("arm", "hand", "has no link arm"),
        ("hand", "base", "no joints lead from hand to base: choose a base that carries the tip"),
        ("world", "base", "no joint moves base against world"),
    ],
)
def test_links_that_are_no_chain_are_named(base: str, tip: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        describe_chain(ARM, base, tip)


@pytest.mark.parametrize(
    ("element", "why"),
    [
        (joint("ball", "floating", "world", "hand"), "joint ball is floating"),
        (
            joint("follower", "revolute", "world", "hand", more='<mimic joint="leader"/>'),
            "joint follower mimics leader",
        ),
        (
            joint("j", "revolute", "world", "hand").replace("0.0 0 0", "a b c"),
            "joint j: origin is not three numbers",
        ),
        (
            joint("j", "revolute", "world", "hand").replace("0.0 0 0", "nan 0 0"),
            "joint j: origin is not three numbers",
        ),
        (
            joint("j", "revolute", "world", "hand").replace("0.0 0 0", "0 0"),
            "joint j: origin is not three numbers",
        ),
    ],
)
def test_a_joint_that_cannot_be_solved_for_is_named(element: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        describe_chain(robot(element), "world", "hand")


def test_a_description_that_goes_in_a_circle_is_refused() -> None:
    circle = robot(joint("a", "fixed", "hand", "arm"), joint("b", "fixed", "arm", "hand"))
    with pytest.raises(ValueError, match="no joints lead from world to hand"):
        describe_chain(circle, "world", "hand")


def test_forward_kinematics_of_a_plane_arm_with_a_tool() -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    half = math.sqrt(0.5)
    chain = Chain(ARM, "base", "hand", (0.0, 0.2, 0.0, 0.0, 0.0, 2 * half, 2 * half))
    joints = np.array([math.pi / 2, -math.pi / 2, 0.3])

    assert_allclose(chain.position(joints), [1.0 + 0.25 + 0.1, 0.5 + 0.2, 0.3], atol=1e-12)
    pose = chain.pose(joints)
    assert_allclose(pose[:3], chain.position(joints))
    assert_allclose(pose[3:], [0.0, 0.0, half, half], atol=1e-12)


def test_no_joint_moves_the_tool_by_more_than_its_lever() -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    chain = Chain(ARM, "base", "hand", (0.0, 0.2, 0.1, 0.0, 0.0, 0.0, 1.0))
    random = np.random.default_rng(3)
    for joints in random.uniform(-1.0, 2.0, (200, 3)):
        moved = np.linalg.norm(chain.jacobian(joints)[:3], axis=0)
        assert (moved <= chain.levers + 1e-12).all()


def test_a_deep_copy_computes_in_memory_of_its_own() -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    chain = Chain(ARM, "base", "hand")
    twin = copy.deepcopy(chain)
    stretched, bent = np.zeros(3), np.array([0.0, math.pi / 2, 0.0])

    placement = chain.placement(stretched)
    assert_allclose(twin.position(bent), [1.5, 0.35, 0.0], atol=1e-12)
    assert_allclose(placement.translation, [1.85, 0.0, 0.0], atol=1e-12)


def test_without_pinocchio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(chain_module, "import_module", absent)
    with pytest.raises(KinematicsUnavailableError, match="pip install pin"):
        Chain(ARM, "base", "hand")
