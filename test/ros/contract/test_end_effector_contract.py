# SPDX-License-Identifier: Apache-2.0
"""End effectors, workspaces and actions of several keys: what a contract accepts and refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
from contract_changes import problems_of
from policies_for_tests import parameters

from gr00t_policy_core import ModalityConfig
from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.compatibility import check_compatibility
from gr00t_ros.contract.contract import parse_contract

FRAMES = {"type": "end_effector", "base": "base", "tip": "hand", "representation": "xyz_rpy"}
WORKSPACE = {
    "workspace__arm__base": "base",
    "workspace__arm__tip": "hand",
    "workspace__arm__floor": [0.0, 0.0, 2.0, 0.1],
}


def pose(entry: str, **changes: Any) -> dict[str, Any]:
    return {f"{entry}__{name}": value for name, value in {**FRAMES, **changes}.items()}


def test_the_joints_of_an_end_effector_are_what_is_commanded() -> None:
    (arm, _) = parse_contract(parameters(**pose("action__arm"))).action
    assert arm.ros_type == "trajectory_msgs/msg/JointTrajectory"
    assert (arm.dimension, arm.interface.command_dimension) == (6, 2)
    assert arm.joints == ("shoulder", "elbow")
    assert len(arm.limits) == 2


def test_joints_of_an_end_effector_share_a_topic_with_other_joints_of_its_message() -> None:
    parse_contract(parameters(**pose("action__arm")))
    (problem,) = problems_of(**pose("action__arm", command="joint_state"))
    assert "only groups of joints of one type can share topic commands" in problem


def test_a_state_that_measures_another_pose_than_is_commanded_is_told() -> None:
    changes = {**pose("state__arm"), **pose("action__arm", tip="finger_tip")}
    (problem,) = problems_of(**changes)
    assert problem.startswith("action.arm: is finger_tip in base, tool [0.0")
    assert "state.arm is hand in base" in problem
    parse_contract(parameters(**{**pose("state__arm"), **pose("action__arm")}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action__arm__tool": [0.0, 0.1]}, "action.arm: tool needs 7 values, got [0.0, 0.1]"),
        (
            {"action__arm__rotation_after": [0.0] * 4},
            "action.arm: rotation_after: a quaternion of norm 0 is not a rotation",
        ),
        (
            {"action__arm__unmeasured": True},
            "action.arm.unmeasured: end_effector begins at the measured joints; leave it out",
        ),
        (
            {"robot_description_topic": ""},
            "action.arm: needs the robot description, robot_description_topic is empty",
        ),
        (
            {"action__arm__on_unreachable": "ignore"},
            "action.arm.on_unreachable: must be one of refuse | truncate, got 'ignore'",
        ),
    ],
)
def test_an_end_effector_that_cannot_work_is_refused(changes: dict[str, Any], why: str) -> None:
    problems = problems_of(**{**pose("action__arm"), **changes})
    assert any(problem.startswith(why) for problem in problems), problems


def test_the_description_has_an_effect_without_joints_that_are_commanded() -> None:
    twist = {"type": "twist_stamped", "topic": "twist", "frame_id": "base", "joints": None}
    changes = {f"action__arm__{name}": value for name, value in twist.items()}
    gripper = {f"action__gripper__{n}": v for n, v in {**twist, "topic": "twist2"}.items()}
    named = {"robot_description_topic": "description"}
    (problem,) = problems_of(**changes, **gripper, **named)
    assert "only with an action that has joints, or a tip" in problem
    parse_contract(parameters(**changes, **gripper, **named, **pose("state__arm")))


# Workspaces


def test_a_workspace_has_the_sides_that_are_given() -> None:
    box = {"workspace__arm__box_min": [float("-inf"), -0.5, float("-inf")]}
    (arm,) = parse_contract(parameters(**WORKSPACE, **box)).workspaces
    assert [side.name for side in arm.sides] == ["y_min", "floor"]
    assert arm.sides[1].normal == (0.0, 0.0, 1.0)
    assert arm.sides[1].offset_m == 0.05


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"floor": None}, "workspace.arm: has neither a box nor a floor"),
        ({"floor": [0.0, 0.0, 1.0]}, "workspace.arm: floor needs 4 values, got 3"),
        ({"floor": [0.0, 0.0, 0.0, 1.0]}, "workspace.arm: floor: a b c must be a direction"),
        ({"floor": [0.0, 0.0, 1e-10, 1.0]}, "workspace.arm: floor: a b c must be a direction"),
        (
            {"floor": [0.0, 0.0, -1.0, 0.1], "box_min": [-math.inf, 0.2, 0.0]},
            "workspace.arm: floor [0.0, 0.0, -1.0, 0.1] leaves nothing of the box",
        ),
        (
            {"box_min": [0.0, 0.0, 2.0], "box_max": [1.0, 1.0, 1.0]},
            "workspace.arm: box_min z 2 must be below box_max z 1",
        ),
        ({"tip": None}, "workspace.arm.tip: no tip given"),
        (
            {"flor": [0.0]},
            "workspace.arm.flor: no such parameter, did you mean workspace.arm.floor",
        ),
    ],
)
def test_a_workspace_that_bounds_nothing_or_nonsense_is_refused(
    changes: dict[str, Any], why: str
) -> None:
    named = {f"workspace__arm__{name}": value for name, value in changes.items()}
    problems = problems_of(**{**WORKSPACE, **named})
    assert any(problem.startswith(why) for problem in problems), problems


def test_a_workspace_needs_joints_and_a_description() -> None:
    (problem,) = problems_of(**WORKSPACE, robot_description_topic="")
    assert problem.startswith("workspace.arm: needs the robot description")


def test_a_workspace_that_only_a_twist_could_leave_says_what_to_do() -> None:
    twist = {
        "action__arm__type": "twist_stamped",
        "action__arm__topic": "twist",
        "action__arm__frame_id": "base",
        "action__arm__joints": None,
        "action__gripper__ignore": True,
        "action__gripper__type": None,
        "action__gripper__topic": None,
        "action__gripper__joints": None,
    }
    problems = problems_of(**{**WORKSPACE, **twist})
    assert any("a twist has no position: whatever follows it" in one for one in problems), problems


# Several keys


def check(contract_changes: dict[str, Any], dimensions: dict[str, int]) -> list[str]:
    contract = parse_contract(parameters(**contract_changes))
    configs = {
        "video": ModalityConfig([0], ["front"]),
        "state": ModalityConfig([0], ["arm", "gripper"]),
        "action": ModalityConfig([0, 1], list(dimensions)),
        "language": ModalityConfig([0], ["task"]),
    }
    try:
        check_compatibility(contract, configs, {"action": dimensions})
    except SpecError as error:
        return error.problems
    return []


def test_an_action_may_be_put_together_from_keys_of_the_policy() -> None:
    keys = {"action__arm__keys": ["left", "right"]}
    assert check(keys, {"left": 1, "right": 1, "gripper": 1}) == []
    (problem,) = check(keys, {"left": 1, "right": 2, "gripper": 1})
    assert problem == "action.arm has 2 values, the policy expects 3"
    problems = check(keys, {"left": 1, "gripper": 1})
    assert any(
        problem.startswith("action.right: the policy has no such key") for problem in problems
    )


def test_one_key_of_the_policy_may_go_to_several_actions() -> None:
    changes = {
        "action__arm__keys": ["all"],
        "action__arm__select": [2, 0],
        "action__gripper__keys": ["all"],
        "action__gripper__select": [1],
    }
    assert check(changes, {"all": 3}) == []
    (problem,) = check({**changes, "action__gripper__select": [3]}, {"all": 3})
    assert problem == "action.gripper: select has [3], the policy answers values 0 to 2 of all"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action__arm__keys": ["a", "a"]}, "action.arm.keys: repeats ['a']"),
        (
            {"action__arm__select": [0, 1, 2]},
            "action.arm: select has 3 indices, joint_trajectory takes 2 values",
        ),
        (
            {
                "action__arm__keys": ["arm", "rest"],
                "action__rest__ignore": True,
            },
            "action.arm.keys: has rest, which action.rest.ignore leaves out",
        ),
    ],
)
def test_keys_that_contradict_themselves_are_refused(changes: dict[str, Any], why: str) -> None:
    assert why in problems_of(**changes)
