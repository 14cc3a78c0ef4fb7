# SPDX-License-Identifier: Apache-2.0
"""The contract: parameters to dataclasses, and every error text a person will read."""

from __future__ import annotations

from typing import Any

import pytest
from policies_for_tests import EchoPolicy, parameters

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionConfig, ModalityConfig
from gr00t_ros.contract import Contract, parse_contract
from gr00t_ros.fit import hold_against


def problems_of(**changes: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_contract(parameters(**changes))
    return caught.value.problems


def misfits(
    contract: Contract,
    configs: dict[str, ModalityConfig] | None = None,
    dimensions: dict[str, dict[str, int]] | None = None,
) -> list[str]:
    policy = EchoPolicy()
    with pytest.raises(SpecError, match="the parameters do not fit the policy") as caught:
        hold_against(
            contract,
            {**policy.get_modality_config(), **(configs or {})},
            policy.get_dimensions() if dimensions is None else dimensions,
        )
    return caught.value.problems


def pose_action(**changes: Any) -> dict[str, Any]:
    return {
        "action__arm__interface": "pose_stamped",
        "action__arm__topic": "pose",
        "action__arm__joints": None,
        "action__arm__representation": "xyz_rot6d",
        "action__arm__frame_id": "base",
        **changes,
    }


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
    front, (arm, gripper) = contract.video[0], contract.state
    assert (front.topic, front.width, front.height) == ("front/image_raw", 224, 224)
    assert (front.rate_hz, front.max_age_s) == (30.0, 0.25)
    assert (arm.joints, arm.scale, arm.max_age_s) == (("shoulder", "elbow"), (57.3,), 0.05)
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
        action__arm__interface=None,
    )
    assert "video.front: no topic given" in problems
    assert "video.wrist: no topic given" in problems
    assert "state.arm.field: must be one of position | velocity | effort, got 'torque'" in problems
    assert "contol_rate_hz: no such parameter, did you mean control_rate_hz?" in problems
    assert "action_rate_hz: no action_rate_hz given" in problems
    assert "policy.port: must be 1 to 65535, got 0" in problems
    assert "action.arm.interface: no interface given" in problems
    assert len(problems) == 7


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"state__arm__representation": "xyz_quat"},
            "state.arm: joints and representation exclude each other",
        ),
        ({"video__front__width": 224}, "video.front: width and height go together"),
        (
            {"action__arm__joints": None},
            "action.arm: joint_trajectory needs joints",
        ),
        (pose_action(action__arm__representation=None), "action.arm: pose_stamped needs represent"),
        (pose_action(action__arm__frame_id=None), "action.arm: pose_stamped needs frame_id"),
        (
            {
                "action__arm__interface": "twist_stamped",
                "action__arm__topic": "twist",
                "action__arm__joints": None,
            },
            "action.arm: twist_stamped needs frame_id",
        ),
        (
            {"state__arm__joints": None},
            "topic joint_states cannot be read as different messages: state.arm as "
            "std_msgs/msg/Float64MultiArray, state.gripper as sensor_msgs/msg/JointState",
        ),
        (
            {"state__arm__joints": ["elbow", "elbow"]},
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
            "action.arm, action.gripper: ['elbow'] commanded twice on topic commands",
        ),
        (
            {"action__gripper__interface": "joint_state"},
            "action.arm, action.gripper: only joint groups of one interface can share topic",
        ),
        (
            {
                "action__arm__interface": "float64_multi_array",
                "action__gripper__interface": "float64_multi_array",
            },
            "action.arm, action.gripper: only joint groups of one interface can share topic",
        ),
    ],
)
def test_entries_that_contradict_themselves_are_refused(
    changes: dict[str, Any], problem: str
) -> None:
    (found,) = problems_of(**changes)
    assert found.startswith(problem)


LOCAL = {"policy__backend": "local", "policy__model_path": "checkpoints/my_robot"}


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
    contract = parse_contract(parameters(policy__device="cpu", policy__cuda_graphs="always"))
    assert contract.policy.model.model_path == ""


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


def test_a_contract_that_fits_its_policy_is_taken() -> None:
    policy = EchoPolicy()
    contract = parse_contract(parameters())
    hold_against(contract, policy.get_modality_config(), policy.get_dimensions())


def test_a_dimension_that_differs_is_named_with_both_numbers() -> None:
    contract = parse_contract(
        parameters(state__gripper__joints=["left", "right"], action__arm__joints=["shoulder"])
    )
    assert misfits(contract) == [
        "state.gripper has 2 joints, the policy expects 1",
        "action.arm has 1 joint, the policy expects 2",
    ]


def test_the_values_of_a_pose_are_counted_too() -> None:
    pose = {
        "state__arm__topic": "arm_pose",
        "state__arm__joints": None,
        "state__arm__representation": "xyz_rot6d",
    }
    contract = parse_contract(parameters(**pose, **pose_action()))
    assert misfits(contract) == [
        "state.arm has 9 values, the policy expects 2",
        "action.arm has 9 values, the policy expects 2",
    ]


def test_a_key_that_the_policy_reads_needs_a_topic() -> None:
    cameras = {"video": ModalityConfig([0], ["front", "wrist"])}
    assert misfits(parse_contract(parameters()), cameras) == ["video.wrist: no topic given"]


def test_a_key_that_the_policy_does_not_have_is_named_with_those_it_has() -> None:
    contract = parse_contract(parameters(video__top__topic="top"))
    assert misfits(contract) == ["video.top: the policy has no such key, it has ['front']"]


def test_all_misfits_are_told_at_once() -> None:
    contract = parse_contract(parameters(state__gripper__joints=["left", "right"]))
    cameras = {"video": ModalityConfig([0], ["wrist"])}
    assert misfits(contract, cameras) == [
        "video.wrist: no topic given",
        "video.front: the policy has no such key, it has ['wrist']",
        "state.gripper has 2 joints, the policy expects 1",
    ]


def test_a_policy_that_does_not_tell_its_dimensions_is_held_to_its_keys() -> None:
    contract = parse_contract(parameters(state__gripper__joints=["left", "right"]))
    hold_against(contract, EchoPolicy().get_modality_config(), {})


def test_an_array_state_has_the_dimension_of_its_message() -> None:
    contract = parse_contract(parameters(state__arm__joints=None, state__arm__topic="array"))
    policy = EchoPolicy()
    hold_against(contract, policy.get_modality_config(), policy.get_dimensions())


def test_delta_steps_are_not_published_as_positions() -> None:
    absolute = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
    delta = ActionConfig("DELTA", "NON_EEF", "DEFAULT")
    config = ModalityConfig([0, 1], ["arm", "gripper"], action_configs=[delta, absolute])
    (found,) = misfits(parse_contract(parameters()), {"action": config})
    assert found.startswith("action.arm: the policy answers DELTA steps, which are no positions")


def test_delta_steps_may_be_an_array_that_ends_in_zeros() -> None:
    configs = EchoPolicy().get_modality_config()
    delta = ActionConfig("DELTA", "NON_EEF", "DEFAULT")
    action = ModalityConfig([0, 1], ["arm", "gripper"], action_configs=[delta, delta])
    values = parameters()
    for key in ("arm", "gripper"):
        values[f"action.{key}.topic"] = key
        values[f"action.{key}.interface"] = "float64_multi_array"
    with pytest.raises(SpecError, match="DELTA"):
        hold_against(parse_contract(values), {**configs, "action": action}, {})

    zeros = {f"action.{key}.when_holding": "zero" for key in ("arm", "gripper")}
    hold_against(parse_contract({**values, **zeros}), {**configs, "action": action}, {})


def test_positions_cannot_be_held_by_zeros() -> None:
    (problem,) = problems_of(action__arm__when_holding="zero")
    assert problem == ("action.arm: joint_trajectory carries positions, when_holding must be last")
