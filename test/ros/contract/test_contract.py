# SPDX-License-Identifier: Apache-2.0
"""The contract: parameters to dataclasses, and what contradicts itself in them."""

from __future__ import annotations

from typing import Any

import pytest
from contract_changes import pose_action, problems_of
from policies_for_tests import parameters

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract


def test_parameters_become_a_contract() -> None:
    contract = parse_contract(
        parameters(
            video__front__rate_hz=30,
            video__front__width=224,
            video__front__height=224,
            state__arm__scale=57.3,
            action__gripper__offset=[0.5],
            policy__token="secret",
            max_age_s=0.25,
            state__arm__max_age_s=0.05,
        )
    )
    front, (arm, gripper) = contract.video[0], contract.state_streams
    assert (front.topic, front.width, front.height) == ("front/image_raw", 224, 224)
    assert (front.rate_hz, front.max_age_s) == (30.0, 0.25)
    assert (arm.type, arm.interface.measured_joints) == ("joint_state", ("shoulder", "elbow"))
    assert (arm.scale, arm.max_age_s) == ((57.3,), 0.05)
    assert (gripper.rate_hz, gripper.max_age_s) == (None, 0.25)
    assert [(o.key, o.dimension, o.offset) for o in contract.action] == [
        ("arm", 2, (0.0,)),
        ("gripper", 1, (0.5,)),
    ]
    assert contract.policy.token == "secret"
    assert contract.policy.backend == "server"
    assert [stream.name for stream in contract.streams] == [
        "video.front",
        "state.arm",
        "state.gripper",
    ]


def test_what_is_left_out_takes_its_default() -> None:
    contract = parse_contract(parameters(replan_interval_s=None, control_rate_hz=None))
    assert contract.replan_interval_s is None
    assert contract.control_rate_hz == 100.0
    assert contract.policy.token is None
    assert (contract.policy.host, contract.policy.port) == ("localhost", 5555)


def test_everything_wrong_is_told_at_once() -> None:
    problems = problems_of(
        video__front__topic="",
        video__wrist__width=224,
        state__arm__field="torque",
        contol_rate_hz=100.0,
        action_rate_hz=None,
        policy__port=0,
        action__arm__type=None,
    )
    assert "video.front: no topic given" in problems
    assert "video.wrist: no topic given" in problems
    assert "state.arm.field: must be one of position | velocity | effort, got 'torque'" in problems
    assert "contol_rate_hz: no such parameter, did you mean control_rate_hz?" in problems
    assert "action_rate_hz: no action_rate_hz given" in problems
    assert "policy.port: must be 1 to 65535, got 0" in problems
    assert (
        "action.arm.type is missing: write `type: float64_multi_array` or "
        "`type: follow_joint_trajectory` or `type: gripper_command` or `type: joint_state` or "
        "`type: joint_trajectory` or `type: parallel_gripper_command`"
    ) in problems
    assert len(problems) == 7


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"state__arm__representation": "xyz_quat"},
            "state.arm.representation: has no effect here, only with type: end_effector or "
            "pose_stamped; leave it",
        ),
        ({"video__front__width": 224}, "video.front: width and height go together"),
        (
            {"action__arm__joints": None},
            "action.arm.joints: no joints given",
        ),
        (
            pose_action(action__arm__representation=None),
            "action.arm.representation: no representation given",
        ),
        (pose_action(action__arm__frame_id=None), "action.arm.frame_id: no frame_id given"),
        (
            {
                "action__arm__type": "twist_stamped",
                "action__arm__topic": "twist",
                "action__arm__joints": None,
            },
            "action.arm.frame_id: no frame_id given",
        ),
        (
            {
                "state__arm__type": "float64_multi_array",
                "state__arm__joints": None,
                "action__arm__unmeasured": True,
            },
            "topic joint_states cannot be read as different messages: state.arm as "
            "std_msgs/msg/Float64MultiArray, state.gripper as sensor_msgs/msg/JointState",
        ),
        (
            {"state__arm__joints": ["elbow", "elbow"], "action__arm__unmeasured": True},
            "state.arm: joints repeats ['elbow']",
        ),
        (
            {"state__arm__scale": [1.0, 2.0, 3.0]},
            "state.arm: scale has 3 values, expected 1 or 2",
        ),
        (
            {"action__arm__offset": [1.0, 2.0, 3.0]},
            "action.arm: offset has 3 values, expected 1 or 2",
        ),
        ({"action__arm__scale": [1.0, 0.0]}, "action.arm: scale must not be 0, got [1.0, 0.0]"),
        (
            {"action__gripper__joints": ["elbow"]},
            "action.arm, action.gripper: elbow is commanded twice, on commands; a joint takes one",
        ),
        (
            {"action__gripper__type": "joint_state"},
            "action.arm, action.gripper: only groups of joints of one type can share topic",
        ),
        (
            {
                "action__arm__type": "float64_multi_array",
                "action__gripper__type": "float64_multi_array",
            },
            "action.arm, action.gripper: only groups of joints of one type can share topic",
        ),
    ],
)
def test_entries_that_contradict_themselves_are_refused(
    changes: dict[str, Any], problem: str
) -> None:
    (found,) = problems_of(**changes)
    assert found.startswith(problem)


LOCAL = {
    "policy__backend": "local",
    "policy__model_path": "checkpoints/my_robot",
    "policy__timeout_s": None,
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {**LOCAL, "policy__model_path": ""},
            "policy.model_path: backend local needs a checkpoint, its folder or its id on the "
            "Hugging Face hub",
        ),
        (
            {**LOCAL, "policy__device": ""},
            "policy.device: backend local needs one, such as cuda, cuda:1 or cpu",
        ),
        (
            {**LOCAL, "policy__device": "cpu", "policy__cuda_graphs": "always"},
            "policy.cuda_graphs: always needs a GPU, policy.device is 'cpu'; make that cuda, or "
            "leave policy.cuda_graphs out",
        ),
    ],
)
def test_a_model_in_the_node_is_told_what_it_lacks(changes: dict[str, Any], problem: str) -> None:
    assert problems_of(**changes) == [problem]


def test_what_a_model_in_the_node_would_need_is_not_asked_for_where_a_server_has_it() -> None:
    assert parse_contract(parameters()).policy.model.model_path == ""


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_model_on_a_gpu_may_replay_cuda_graphs(device: str) -> None:
    contract = parse_contract(
        parameters(**LOCAL, policy__device=device, policy__cuda_graphs="always")
    )
    assert contract.policy.model.cuda_graphs is True


def test_a_robot_without_streams_or_commands_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        parse_contract({"action_rate_hz": 20.0})
    assert caught.value.problems == [
        "no video.<key>.topic and no state.<key>.topic: nothing to observe",
        "no action.<key>.topic: nothing to command",
    ]
