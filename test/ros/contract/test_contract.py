# SPDX-License-Identifier: Apache-2.0
"""The contract: parameters to dataclasses, and every error text a person will read."""

from __future__ import annotations

from typing import Any

import pytest
from policies_for_tests import EchoPolicy, parameters

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionConfig, ModalityConfig
from gr00t_ros.contract.compatibility import hold_against, untold_actions
from gr00t_ros.contract.contract import Contract, parse_contract


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
        "action__arm__unmeasured": True,
        **changes,
    }


def array_action(**changes: Any) -> dict[str, Any]:
    return {
        "action__arm__interface": "float64_multi_array",
        "action__arm__topic": "array",
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
            {"state__arm__joints": None, "action__arm__unmeasured": True},
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


def test_a_contract_that_fits_its_policy_is_taken() -> None:
    policy = EchoPolicy()
    contract = parse_contract(parameters())
    hold_against(contract, policy.get_modality_config(), policy.get_dimensions())


def test_a_dimension_that_differs_is_named_with_both_numbers() -> None:
    contract = parse_contract(
        parameters(state__gripper__joints=["finger", "right"], action__arm__joints=["shoulder"])
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
    contract = parse_contract(parameters(**pose, **pose_action(action__arm__unmeasured=None)))
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


def test_a_key_that_is_misspelt_or_mangled_is_told_with_what_to_write() -> None:
    contract = parse_contract(parameters(video__fornt__topic="top"))
    assert misfits(contract) == [
        "video.fornt: the policy has no such key, it has ['front'] (did you mean video.front?)"
    ]
    (found,) = misfits(parse_contract({**parameters(), "video.wrist.front.topic": "top"}))
    assert found.startswith("video.wrist.front: the policy has no such key, it has ['front']; ROS ")
    assert "write each parameter of such keys as one line" in found


def test_all_misfits_are_told_at_once() -> None:
    contract = parse_contract(parameters(state__gripper__joints=["finger", "right"]))
    cameras = {"video": ModalityConfig([0], ["wrist"])}
    assert misfits(contract, cameras) == [
        "video.wrist: no topic given",
        "video.front: the policy has no such key, it has ['wrist']",
        "state.gripper has 2 joints, the policy expects 1",
    ]


def test_an_instruction_that_the_policy_does_not_take_is_refused() -> None:
    configs = {k: v for k, v in EchoPolicy().get_modality_config().items() if k != "language"}
    with pytest.raises(SpecError, match="instruction: the policy takes no instruction; leave it"):
        hold_against(parse_contract(parameters()), configs, {})
    hold_against(parse_contract(parameters(instruction=None)), configs, {})


def test_a_policy_that_does_not_tell_its_dimensions_is_held_to_its_keys() -> None:
    contract = parse_contract(parameters(state__gripper__joints=["finger", "right"]))
    hold_against(contract, EchoPolicy().get_modality_config(), {})


def test_an_array_state_has_the_dimension_of_its_message() -> None:
    contract = parse_contract(
        parameters(state__arm__joints=None, state__arm__topic="array", action__arm__unmeasured=True)
    )
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
    values.pop("max_jump")  # zeros have no place to jump from
    with pytest.raises(SpecError, match="DELTA"):
        hold_against(parse_contract(values), {**configs, "action": action}, {})

    zeros = {f"action.{key}.when_holding": "zero" for key in ("arm", "gripper")}
    hold_against(parse_contract({**values, **zeros}), {**configs, "action": action}, {})


def test_positions_cannot_be_held_by_zeros() -> None:
    (problem,) = problems_of(action__arm__when_holding="zero")
    assert problem == (
        "action.arm.when_holding: has no effect here, only with interface: float64_multi_array; "
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
        {"state__gripper__joints": None, "state__gripper__topic": "array"},
        {"action__gripper__interface": "float64_multi_array", "action__gripper__topic": "grip"}
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
    assert [stream.topic for stream in contract.state] == ["arm/joint_states", "joint_states"]


def test_a_commanded_pose_needs_the_state_of_its_key() -> None:
    pose = pose_action(action__arm__unmeasured=None)
    (problem,) = problems_of(**pose)
    assert problem == (
        "action.arm: no state.arm with a representation measures the pose; name the state like "
        "the action, or say unmeasured: true"
    )
    tool = {"state__tool__topic": "tool", "state__tool__representation": "xyz_quat"}
    (problem,) = problems_of(**pose, **{k.replace("tool_", "arms_"): v for k, v in tool.items()})
    assert "(did you mean state.arms?)" in problem
    of_arm = {k.replace("__tool_", "__arm_"): v for k, v in tool.items()}
    parse_contract(parameters(**pose, **of_arm, state__arm__joints=None))


def test_an_array_without_names_has_to_be_allowed_by_name() -> None:
    (problem,) = problems_of(**array_action(action__arm__joints=None))
    assert problem == (
        "action.arm: an array without joints has no limits, and no state measures it; name its "
        "joints, or say unmeasured: true"
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
            {"action__arm__interface": "joint_state", "action__arm__topic": "/joint_states"},
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
            {"video__front__topic": "/joint_states"},
            "topic /joint_states cannot be read as different messages: video.front as an image, "
            "state.arm as sensor_msgs/msg/JointState, state.gripper as sensor_msgs/msg/JointState",
        ),
        (
            {"action__gripper__topic": "/commands", "action__gripper__interface": "joint_state"},
            "action.arm, action.gripper: only joint groups of one interface can share topic "
            "commands",
        ),
        (
            {"action__gripper__topic": "/grip", "action__gripper__joints": ["elbow"]}
            | {"action__gripper__interface": "float64_multi_array"},
            "action.arm, action.gripper: elbow is commanded twice, on commands and /grip; a joint "
            "takes one command",
        ),
        (
            {"action__gripper__topic": "spin", "action__gripper__joints": ["elbow"]}
            | {"action__gripper__interface": "float64_multi_array"}
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
        action__arm__interface="joint_state",
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
            raise ValueError(f"{topic!r} is no name of a topic: unknown substitution")
        return f"/{topic}"

    with pytest.raises(SpecError) as caught:
        parse_contract(parameters(state__arm__topic="{robot}/joint_states"), resolve=refuse)
    assert caught.value.problems == [
        "state.arm: '{robot}/joint_states' is no name of a topic: unknown substitution"
    ]


RELATIVE = ModalityConfig(
    [0, 1],
    ["arm", "gripper"],
    action_configs=[
        ActionConfig("RELATIVE", "NON_EEF", "DEFAULT"),
        ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT"),
    ],
)


def test_relative_steps_are_refused_where_the_policy_does_not_make_them_absolute() -> None:
    (found,) = misfits(parse_contract(parameters()), {"action": RELATIVE})
    assert found.startswith("action.arm: the policy answers RELATIVE steps")
    assert "'absolute_actions'" in found


def test_relative_steps_that_the_policy_makes_absolute_are_positions() -> None:
    policy = EchoPolicy()
    hold_against(
        parse_contract(parameters()),
        {**policy.get_modality_config(), "action": RELATIVE},
        policy.get_dimensions(),
        capabilities=("absolute_actions",),
    )


def test_positions_that_the_policy_says_nothing_of_are_named() -> None:
    contract = parse_contract(parameters())
    configs = EchoPolicy().get_modality_config()
    assert untold_actions(contract, configs) == ["action.arm", "action.gripper"]
    assert untold_actions(contract, {**configs, "action": RELATIVE}) == []
