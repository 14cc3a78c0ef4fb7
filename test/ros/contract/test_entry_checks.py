# SPDX-License-Identifier: Apache-2.0
"""The types of states and actions, states of several sources, and actions that are ignored."""

from __future__ import annotations

from typing import Any

import pytest
from contract_changes import pose_action, problems_of
from policies_for_tests import parameters

from gr00t_ros.contract.contract import parse_contract

POSE_STATE = {
    "state__arm__topic": "pose_now",
    "state__arm__joints": None,
    "state__arm__representation": "xyz_quat",
}
TOOL = {
    "state__arm__topic": None,
    "state__arm__type": None,
    "state__arm__joints": None,
    "state__arm__sources": ["pose", "grip"],
    "state__arm__pose__type": "pose_stamped",
    "state__arm__pose__topic": "pose_now",
    "state__arm__pose__representation": "xyz_rpy",
    "state__arm__grip__type": "joint_state",
    "state__arm__grip__topic": "grip_now",
    "state__arm__grip__joints": ["shoulder", "elbow"],
}


# Types


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"action__arm__type": None, "action__arm__interface": "joint_trajectory"},
            "action.arm.type is missing: write `type: joint_trajectory`",
        ),
        (
            pose_action(action__arm__type=None, action__arm__interface="pose_stamped"),
            "action.arm.type is missing: write `type: pose_stamped`",
        ),
        (
            pose_action(action__arm__type=None),
            "action.arm.type is missing: write `type: pose_stamped`",
        ),
        (
            {"state__arm__type": None},
            "state.arm.type is missing: write `type: controller_state` or `type: joint_state`",
        ),
        (
            {**POSE_STATE, "state__arm__type": None},
            "state.arm.type is missing: write `type: pose_stamped`",
        ),
        ({"state__arm__type": 7}, "state.arm.type: must be text, got 7"),
        (
            {"action__arm__type": None, "action__arm__interface": ["a"]},
            "action.arm.type is missing: write `type: float64_multi_array` or "
            "`type: follow_joint_trajectory` or `type: gripper_command` or `type: joint_state` or "
            "`type: joint_trajectory` or `type: parallel_gripper_command`",
        ),
    ],
)
def test_a_missing_type_is_answered_with_the_line_to_write(
    changes: dict[str, Any], problem: str
) -> None:
    assert problems_of(**changes) == [problem]


def test_where_several_types_would_do_all_are_told() -> None:
    changes = {"state__arm__type": None, "state__arm__joints": None}
    (problem,) = problems_of(**changes)
    assert problem.startswith("state.arm.type is missing: write `type: float64_multi_array`")


def test_an_interface_beside_a_type_is_no_parameter() -> None:
    (problem,) = problems_of(action__arm__interface="joint_trajectory")
    assert problem.startswith("action.arm.interface: no such parameter")


def test_a_type_that_is_unknown_is_the_only_problem_of_its_entry() -> None:
    (problem,) = problems_of(state__arm__type="servo")
    assert problem.startswith("state.arm.type: 'servo' is not a message type; write one of ")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"state__arm__frame_id": "base"},
            "state.arm.frame_id: no such parameter",
        ),
        (
            {"state__arm__representation": "xyz_quat"},
            "state.arm.representation: has no effect here, only with type: end_effector or "
            "pose_stamped; leave it out",
        ),
        (
            {"action__arm__frame_id": "base"},
            "action.arm.frame_id: has no effect here, only with type: pose_stamped or "
            "twist_stamped; leave it out",
        ),
    ],
)
def test_a_parameter_of_another_type_is_told_with_the_types_that_have_it(
    changes: dict[str, Any], problem: str
) -> None:
    (found,) = problems_of(**changes)
    assert found.startswith(problem)


# Several sources


def test_a_state_may_be_put_together_from_several_sources() -> None:
    contract = parse_contract(parameters(**TOOL))
    tool = contract.state[-1]
    assert (tool.name, tool.dimension) == ("state.arm", 8)
    assert [stream.name for stream in tool.streams] == ["state.arm.pose", "state.arm.grip"]
    assert [stream.dimension for stream in tool.streams] == [6, 2]
    assert [stream.name for stream in contract.streams] == [
        "video.front",
        "state.gripper",
        "state.arm.pose",
        "state.arm.grip",
    ]


def test_the_order_is_that_of_the_sources() -> None:
    contract = parse_contract(parameters(**{**TOOL, "state__arm__sources": ["grip", "pose"]}))
    names = [stream.name for state in contract.state for stream in state.streams]
    assert names[-2:] == ["state.arm.grip", "state.arm.pose"]


def test_a_source_may_give_a_part_of_its_values() -> None:
    contract = parse_contract(parameters(**TOOL, state__arm__pose__select=[0, 1, 2]))
    assert contract.state[-1].dimension == 5


def test_a_pose_among_the_sources_measures_the_command_of_the_key() -> None:
    pose = pose_action(action__arm__unmeasured=None)
    contract = parse_contract(parameters(**TOOL, **pose))
    assert contract.action[0].max_following_errors == (0.5,)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {**TOOL, "state__arm__topic": "joint_states"},
            "state.arm.topic: has no effect here, the state has sources; write it for each of "
            "them, such as state.arm.pose.topic",
        ),
        ({**TOOL, "state__arm__pose__topic": None}, "state.arm.pose: no topic given"),
        (
            {**TOOL, "state__arm__grip__type": None},
            "state.arm.grip.type is missing: write `type: controller_state` or `type: joint_state`",
        ),
        ({**TOOL, "state__arm__sources": ["pose", "pose"]}, "state.arm.sources: repeats ['pose']"),
        (
            {**TOOL, "state__arm__pose__select": [0, 6]},
            "state.arm.pose: select has [6], pose_stamped has values 0 to 5",
        ),
        (
            {**TOOL, "state__arm__pose__sources": ["a"]},
            "state.arm.pose.sources: no such parameter, did you mean state.arm.sources?",
        ),
    ],
)
def test_what_is_wrong_with_a_source_is_told_by_its_name(
    changes: dict[str, Any], problem: str
) -> None:
    assert problem in problems_of(**changes)


# Ignored actions


def test_an_action_that_is_ignored_is_not_commanded() -> None:
    gripper = {f"action__gripper__{name}": None for name in ("type", "topic", "joints")}
    contract = parse_contract(parameters(**gripper, action__gripper__ignore=True))
    assert [output.key for output in contract.action] == ["arm"]
    assert (contract.ignored, contract.action_keys) == (("gripper",), ("arm", "gripper"))


def test_an_ignored_action_has_no_other_parameters() -> None:
    problems = problems_of(action__gripper__ignore=True)
    assert problems == [
        f"action.gripper.{name}: has no effect here, the key is ignored; leave it out"
        for name in ("joints", "topic", "type")
    ]


def test_a_robot_that_ignores_all_actions_is_refused() -> None:
    changes = {
        f"action__{key}__{name}": None
        for key in ("arm", "gripper")
        for name in ("type", "topic", "joints")
    }
    problems = problems_of(**changes, action__arm__ignore=True, action__gripper__ignore=True)
    assert problems == ["no action.<key>.topic: nothing to command"]
