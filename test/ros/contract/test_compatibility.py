# SPDX-License-Identifier: Apache-2.0
"""The contract and what a policy says of itself: every misfit is named."""

from __future__ import annotations

import pytest
from contract_changes import pose_action
from policies_for_tests import EchoPolicy, parameters

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionConfig, ModalityConfig
from gr00t_ros.contract.compatibility import check_compatibility, undeclared_actions
from gr00t_ros.contract.contract import Contract, parse_contract


def misfits(
    contract: Contract,
    configs: dict[str, ModalityConfig] | None = None,
    dimensions: dict[str, dict[str, int]] | None = None,
) -> list[str]:
    policy = EchoPolicy()
    with pytest.raises(SpecError, match="the parameters do not match the policy") as caught:
        check_compatibility(
            contract,
            {**policy.get_modality_config(), **(configs or {})},
            policy.get_dimensions() if dimensions is None else dimensions,
        )
    return caught.value.problems


def test_a_contract_that_fits_its_policy_is_taken() -> None:
    policy = EchoPolicy()
    contract = parse_contract(parameters())
    check_compatibility(contract, policy.get_modality_config(), policy.get_dimensions())


def test_a_dimension_that_differs_is_named_with_both_numbers() -> None:
    contract = parse_contract(
        parameters(state__gripper__joints=["finger", "right"], action__arm__joints=["shoulder"])
    )
    assert misfits(contract) == [
        "state.gripper has 2 values, the policy expects 1",
        "action.arm has 1 value, the policy expects 2",
    ]


def test_the_values_of_a_pose_are_counted_too() -> None:
    pose = {
        "state__arm__type": "pose_stamped",
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


def test_an_action_of_the_policy_is_commanded_or_ignored_on_purpose() -> None:
    gripper = {f"action__gripper__{name}": None for name in ("type", "topic", "joints")}
    assert misfits(parse_contract(parameters(**gripper))) == [
        "action.gripper: no topic given; write `ignore: true` below it where the robot has no use "
        "for it"
    ]
    policy = EchoPolicy()
    contract = parse_contract(parameters(**gripper, action__gripper__ignore=True))
    check_compatibility(contract, policy.get_modality_config(), policy.get_dimensions())


def test_an_action_that_is_ignored_has_to_be_one_of_the_policys() -> None:
    assert misfits(parse_contract(parameters(action__wheels__ignore=True))) == [
        "action.wheels: the policy has no such key, it has ['arm', 'gripper']"
    ]


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
        "state.gripper has 2 values, the policy expects 1",
    ]


def test_an_instruction_that_the_policy_does_not_take_is_refused() -> None:
    configs = {k: v for k, v in EchoPolicy().get_modality_config().items() if k != "language"}
    with pytest.raises(SpecError, match="instruction: the policy takes no instruction; leave it"):
        check_compatibility(parse_contract(parameters()), configs, {})
    check_compatibility(parse_contract(parameters(instruction=None)), configs, {})


def test_a_policy_that_does_not_tell_its_dimensions_is_held_to_its_keys() -> None:
    contract = parse_contract(parameters(state__gripper__joints=["finger", "right"]))
    check_compatibility(contract, EchoPolicy().get_modality_config(), {})


def test_an_array_state_has_the_dimension_of_its_message() -> None:
    contract = parse_contract(
        parameters(
            state__arm__type="float64_multi_array",
            state__arm__joints=None,
            state__arm__topic="array",
            action__arm__unmeasured=True,
        )
    )
    policy = EchoPolicy()
    check_compatibility(contract, policy.get_modality_config(), policy.get_dimensions())


def test_delta_steps_are_not_published_as_positions() -> None:
    absolute = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
    delta = ActionConfig("DELTA", "NON_EEF", "DEFAULT")
    config = ModalityConfig([0, 1], ["arm", "gripper"], action_configs=[delta, absolute])
    (found,) = misfits(parse_contract(parameters()), {"action": config})
    assert found.startswith("action.arm: the policy answers DELTA steps, which are not positions")


def test_delta_steps_may_be_an_array_that_ends_in_zeros() -> None:
    configs = EchoPolicy().get_modality_config()
    delta = ActionConfig("DELTA", "NON_EEF", "DEFAULT")
    action = ModalityConfig([0, 1], ["arm", "gripper"], action_configs=[delta, delta])
    values = parameters()
    for key in ("arm", "gripper"):
        values[f"action.{key}.topic"] = key
        values[f"action.{key}.type"] = "float64_multi_array"
    values.pop("max_jump")  # zeros have no place to jump from
    with pytest.raises(SpecError, match="DELTA"):
        check_compatibility(parse_contract(values), {**configs, "action": action}, {})

    zeros = {f"action.{key}.when_holding": "zero" for key in ("arm", "gripper")}
    check_compatibility(parse_contract({**values, **zeros}), {**configs, "action": action}, {})


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
    check_compatibility(
        parse_contract(parameters()),
        {**policy.get_modality_config(), "action": RELATIVE},
        policy.get_dimensions(),
        capabilities=("absolute_actions",),
    )


def test_positions_that_the_policy_says_nothing_of_are_named() -> None:
    contract = parse_contract(parameters())
    configs = EchoPolicy().get_modality_config()
    assert undeclared_actions(contract, configs) == ["action.arm", "action.gripper"]
    assert undeclared_actions(contract, {**configs, "action": RELATIVE}) == []
