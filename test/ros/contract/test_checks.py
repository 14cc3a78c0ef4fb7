# SPDX-License-Identifier: Apache-2.0
"""What does not go together in a contract: commands, measurements, topics and joints."""

from __future__ import annotations

from typing import Any

import pytest
from contract_changes import array_action, pose_action, problems_of
from policies_for_tests import parameters

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract


def test_positions_cannot_be_held_by_zeros() -> None:
    (problem,) = problems_of(action__arm__when_holding="zero")
    assert problem == (
        "action.arm.when_holding: has no effect here, only with type: float64_multi_array; "
        "leave it out"
    )


# What is commanded has to be measured


def test_a_commanded_joint_that_no_state_measures_is_named_with_the_nearest_that_one_does() -> None:
    (problem,) = problems_of(action__arm__joints=["shoulder", "elbwo"])
    assert problem == (
        "action.arm: no state measures the position of elbwo; add it to the joints of a state "
        "(did you mean elbow?), or say unmeasured: true"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"state__gripper__field": "effort"},
        {"state__gripper__type": "float64_multi_array", "state__gripper__joints": None}
        | {"state__gripper__topic": "array"},
        {"action__gripper__type": "float64_multi_array", "action__gripper__topic": "grip"}
        | {"state__gripper__field": "velocity"},
    ],
)
def test_a_state_without_positions_measures_none(changes: dict[str, Any]) -> None:
    (problem,) = problems_of(**changes)
    assert problem.startswith("action.gripper: no state measures the position of finger;")
    contract = parse_contract(parameters(**changes, action__gripper__unmeasured=True))
    assert [output.unmeasured for output in contract.action] == [False, True]


def test_a_joint_may_be_measured_by_any_state_on_any_topic() -> None:
    contract = parse_contract(
        parameters(
            state__arm__topic="arm/joint_states",
            state__arm__joints=["shoulder", "finger"],
            state__gripper__joints=["elbow"],
        )
    )
    assert [stream.topic for stream in contract.state_streams] == [
        "arm/joint_states",
        "joint_states",
    ]


def test_a_commanded_pose_needs_the_state_of_its_key() -> None:
    pose = pose_action(action__arm__unmeasured=None)
    (problem,) = problems_of(**pose)
    assert problem == (
        "action.arm: no state.arm measures the pose; give a state of a pose the name of the "
        "action, or say unmeasured: true"
    )
    tool = {
        "state__tool__type": "pose_stamped",
        "state__tool__topic": "tool",
        "state__tool__representation": "xyz_quat",
    }
    (problem,) = problems_of(**pose, **{k.replace("tool_", "arms_"): v for k, v in tool.items()})
    assert "(did you mean state.arms?)" in problem
    of_arm = {k.replace("__tool_", "__arm_"): v for k, v in tool.items()}
    parse_contract(parameters(**pose, **of_arm, state__arm__joints=None))


def test_an_array_without_names_has_to_be_allowed_by_name() -> None:
    (problem,) = problems_of(**array_action(action__arm__joints=None))
    assert problem == (
        "action.arm: float64_multi_array without joints has no limits, and no state measures it, "
        "or say unmeasured: true"
    )


def test_unmeasured_is_refused_where_all_is_measured() -> None:
    (problem,) = problems_of(action__arm__unmeasured=True)
    assert problem == (
        "action.arm.unmeasured: has no effect, states measure all of it; leave it out"
    )


def test_velocities_need_no_place() -> None:
    zeros = array_action(action__arm__when_holding="zero", action__arm__joints=["wheel", "caster"])
    parse_contract(parameters(**zeros))


# Topics are what ROS takes them for


def remapped(topic: str) -> str:
    """Within the namespace /robot, with commands remapped to joint_states."""
    topic = topic if topic.startswith("/") else f"/robot/{topic}"
    return "/robot/joint_states" if topic == "/robot/orders" else topic


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"action__arm__type": "joint_state", "action__arm__topic": "/joint_states"},
            "action.arm: topic joint_states is read by state.arm, state.gripper; commands need "
            "a topic of their own",
        ),
        (
            {"action__arm__topic": "/front/image_raw"},
            "action.arm: topic front/image_raw is read by video.front; commands need "
            "a topic of their own",
        ),
        (
            {"action__arm__topic": "/action_chunk"},
            "action.arm: topic action_chunk is read by the nodes themselves; commands need "
            "a topic of their own",
        ),
        (
            {"enable_topic": "/commands", "enable_timeout_s": 0.1},
            "action.arm, action.gripper: topic commands is read by enable_topic; commands need "
            "a topic of their own",
        ),
        (
            {"action__arm__teleop_topic": "/commands"},
            "action.arm, action.gripper: topic commands is read by action.arm.teleop_topic; "
            "commands need a topic of their own",
        ),
        (
            {"action__arm__teleop_topic": "leader", "intervene_topic": "/intervention"},
            "the control node itself: topic intervention is read by intervene_topic; commands need "
            "a topic of their own",
        ),
        (
            {"action__arm__teleop_topic": "leader", "intervene_topic": "/leader"},
            "topic leader cannot be read as different messages: intervene_topic as "
            "std_msgs/msg/Bool, action.arm.teleop_topic as trajectory_msgs/msg/JointTrajectory",
        ),
        (
            {"video__front__topic": "/joint_states"},
            "topic /joint_states cannot be read as different messages: video.front as an image, "
            "state.arm as sensor_msgs/msg/JointState, state.gripper as sensor_msgs/msg/JointState",
        ),
        (
            {"action__gripper__topic": "/commands", "action__gripper__type": "joint_state"},
            "action.arm, action.gripper: only groups of joints of one type can share topic "
            "commands",
        ),
        (
            {"action__gripper__topic": "/grip", "action__gripper__joints": ["elbow"]}
            | {"action__gripper__type": "float64_multi_array"},
            "action.arm, action.gripper: elbow is commanded twice, on commands and /grip; a joint "
            "takes one command",
        ),
        (
            {"action__gripper__topic": "spin", "action__gripper__joints": ["elbow"]}
            | {"action__gripper__type": "float64_multi_array"}
            | {"action__gripper__when_holding": "zero"},
            "action.arm, action.gripper: elbow is commanded twice, on commands and spin; a joint "
            "takes one command",
        ),
    ],
)
def test_topics_that_are_one_to_ros_are_one_to_the_checks(
    changes: dict[str, Any], problem: str
) -> None:
    assert problems_of(**changes) == [problem]


def test_keys_on_one_topic_under_two_names_go_out_as_one_message() -> None:
    contract = parse_contract(parameters(action__gripper__topic="/commands"))
    assert [output.topic for output in contract.action] == ["commands", "commands"]


def test_names_are_compared_after_remapping_within_the_namespace() -> None:
    values = parameters(action__gripper__topic="/commands")
    contract = parse_contract(values, resolve=remapped)
    assert [output.topic for output in contract.action] == ["commands", "/commands"]
    values = parameters(
        action__arm__topic="orders",
        action__arm__type="joint_state",
        state__gripper__topic="/robot/joint_states",
    )
    with pytest.raises(SpecError) as caught:
        parse_contract(values, resolve=remapped)
    assert caught.value.problems == [
        "action.arm: topic joint_states is read by state.arm, state.gripper; commands need "
        "a topic of their own"
    ]


def test_a_topic_that_ros_refuses_is_told_with_its_key() -> None:
    def refuse(topic: str) -> str:
        if "{" in topic:
            raise ValueError(f"{topic!r} is not a valid topic name: unknown substitution")
        return f"/{topic}"

    with pytest.raises(SpecError) as caught:
        parse_contract(parameters(state__arm__topic="{robot}/joint_states"), resolve=refuse)
    assert caught.value.problems == [
        "state.arm: '{robot}/joint_states' is not a valid topic name: unknown substitution"
    ]


def test_entries_contradict_each_other_beside_what_is_wrong_by_itself() -> None:
    problems = problems_of(
        control_rate_hz="fast",
        action__gripper__max_velocity=-1.0,
        action__arm__joints=["shoulder", "elbow", "wrist"],
        action__wrist__type="joint_trajectory",
        action__wrist__topic="/wrist",
        action__wrist__joints=["wrist"],
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "control_rate_hz",
        "action.gripper",
        "action.arm",
        "action.wrist",
        "action.arm, action.wrist",
    ]
    assert "no state measures the position of wrist" in problems[2]
    assert "wrist is commanded twice" in problems[4]


@pytest.mark.parametrize(
    "changes",
    [
        {"state__arm__field": "torque"},
        {"state__gripper__topic": "a b"},
        {"video__front__widht": 64, "video__front__height": 48},
        {"policy__backend": "local", "policy__model_path": 5},
    ],
)
def test_what_a_faulty_entry_would_have_provided_is_not_missed(changes: dict[str, Any]) -> None:
    assert len(problems_of(**changes)) == 1
