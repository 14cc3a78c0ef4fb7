# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: what it holds, how names are found in it, and what values it refuses."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from gr00t_policy_core.cli.model_flags import add_model_flags
from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.parameter_checks import name_problems, value_problem
from gr00t_ros.contract.parameters import (
    ACTION,
    MODALITIES,
    STATE,
    TOP,
    common_parameters,
    default_values,
    keys_of,
    parameters_for,
    types_of,
)
from gr00t_ros.contract.policy_settings import WHEN_FLAGS

OF_TYPES = {
    f"{modality} {name}": cls.parameters
    for modality in (STATE, ACTION)
    for name, cls in types_of(modality).items()
}
EVERY = [
    *TOP,
    *(parameter for modality in MODALITIES for parameter in common_parameters(modality)),
    *(parameter for parameters in OF_TYPES.values() for parameter in parameters),
]
VALUES = {
    "video.front.topic": "front",
    "state.arm.type": "joint_state",
    "state.tool.type": "pose_stamped",
    "action.arm.type": "pose_stamped",
    "action_rate_hz": 20.0,
}


def named(name: str) -> Parameter:
    return next(p for p in parameters_for(VALUES) if p.name == name)


@pytest.mark.parametrize("parameter", EVERY, ids=lambda p: p.name)
def test_every_parameter_is_described_and_numbers_have_a_range_and_a_unit(
    parameter: Parameter,
) -> None:
    assert len(parameter.description) > 10
    if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
        assert parameter.minimum is not None
        assert parameter.maximum is not None
    for suffix, units in (("_s", ("s, ", "s ")), ("_hz", "Hz, "), (("width", "height"), "px, ")):
        if parameter.name.endswith(suffix):
            assert parameter.description.startswith(units)


@pytest.mark.parametrize("parameter", EVERY, ids=lambda p: p.name)
def test_a_default_is_a_value_that_is_allowed_unless_it_has_to_be_given(
    parameter: Parameter,
) -> None:
    problem = value_problem(parameter, parameter.default)
    assert (problem is not None) == parameter.required


def test_every_flag_of_serve_for_a_model_is_a_parameter_with_its_default_and_choices() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_model_flags(parser)
    flags = {flag.dest: flag for flag in parser._actions}
    del flags["camera_size"]  # a node knows its cameras
    for name, flag in flags.items():
        parameter = named(f"policy.{name}")
        if isinstance(flag, argparse.BooleanOptionalAction):
            assert flag.default is WHEN_FLAGS[parameter.default], name
            assert parameter.choices == tuple(WHEN_FLAGS), name
            continue
        unset = type(parameter.default)()  # "" or 0: the parameter has no None
        assert parameter.default == (unset if flag.default is None else flag.default), name
        assert set(parameter.choices) - {""} == set(flag.choices or ()), name


def test_keys_are_found_in_the_names_in_their_order() -> None:
    names = ["video.wrist.topic", "video.front.width", "video.wrist.width", "state.arm.topic"]
    assert keys_of("video", dict.fromkeys(names)) == ["wrist", "front"]


def test_a_key_may_have_dots() -> None:
    assert keys_of("state", {"state.left.arm.topic": "a", "state.left.arm.joints": []}) == [
        "left.arm"
    ]


def test_each_key_in_use_has_all_fields_of_its_modality() -> None:
    names = {p.name for p in parameters_for({"video.front.topic": "front"})}
    assert {f"video.front.{parameter.name}" for parameter in common_parameters("video")} <= names
    assert not any(name.startswith(("state.", "action.")) for name in names)


def test_a_source_of_a_state_is_no_key_and_has_the_parameters_of_its_type() -> None:
    values: dict[str, Any] = {
        "state.arm.sources": ["left", "right"],
        "state.arm.left.type": "joint_state",
        "state.other.type": "pose_stamped",
    }
    assert keys_of("state", values) == ["arm", "other"]
    names = {p.name for p in parameters_for(values)}
    assert {"state.arm.sources", "state.arm.left.joints", "state.arm.right.type"} <= names
    assert not names & {"state.arm.topic", "state.arm.right.joints", "state.arm.left.sources"}


def test_an_ignored_action_has_no_other_parameter() -> None:
    names = {p.name for p in parameters_for({"action.arm.ignore": True})}
    assert {name for name in names if name.startswith("action.")} == {"action.arm.ignore"}


def test_defaults_cover_what_was_declared_before_a_type_was_changed() -> None:
    defaults = default_values({"action.arm.type": "pose_stamped", "action.gripper.ignore": True})
    assert (defaults["action.arm.joints"], defaults["action.arm.frame_id"]) == ([], "")
    assert defaults["action.gripper.max_jerk"] == [500.0]
    assert defaults["control_rate_hz"] == 100.0


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("contol_rate_hz", "contol_rate_hz: no such parameter, did you mean control_rate_hz?"),
        (
            "video.front.topci",
            "video.front.topci: no such parameter, did you mean video.front.topic?",
        ),
        (
            "action.arm.frameid",
            "action.arm.frameid: no such parameter, did you mean action.arm.frame_id?",
        ),
        ("policy.hots", "policy.hots: no such parameter, did you mean policy.hosts?"),
        ("video.topic", "video.topic: no such parameter"),
        ("zzz", "zzz: no such parameter"),
    ],
)
def test_a_name_that_is_no_parameter_is_told_with_a_hint(name: str, problem: str) -> None:
    (found,) = name_problems({**VALUES, name: 1})
    assert found.startswith(problem)


def test_the_parameters_of_ros_itself_are_not_ours_to_refuse() -> None:
    ros = ["use_sim_time", "start_type_description_service", "qos_overrides./clock.sub.depth"]
    assert list(name_problems({**VALUES, **dict.fromkeys(ros)})) == []


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("policy.port", 70000, "must be 1 to 65535, got 70000"),
        ("policy.port", "5555", "must be a whole number, got '5555'"),
        ("policy.port", 5555.0, "must be a whole number, got 5555.0"),
        ("policy.port", True, "must be a whole number, got True"),
        ("policy.backend", "cloud", "must be one of server | local, got 'cloud'"),
        ("policy.host", 7, "must be text, got 7"),
        ("policy.dtype", "int8", "must be one of bfloat16 | float16 | float32 | fp8, got 'int8'"),
        ("policy.compile", "fast", "must be one of default | max-autotune, got 'fast'"),
        ("policy.compile", True, "must be one of default | max-autotune, got True"),
        ("policy.cuda_graphs", "yes", "must be one of auto | always | never, got 'yes'"),
        ("policy.mask_padding", 1, "must be true or false, got 1"),
        ("policy.device_images", True, "must be one of auto | always | never, got True"),
        ("action_rate_hz", 0.0, "no action_rate_hz given"),
        ("action_rate_hz", -20.0, "must be 0.1 to 1000, got -20.0"),
        ("action_rate_hz", float("nan"), "must be 0.1 to 1000, got nan"),
        ("control_rate_hz", "fast", "must be a number, got 'fast'"),
        ("autostart", 1, "must be true or false, got 1"),
        ("video.front.topic", "", "no topic given"),
        ("video.front.topic", "/front camera", "'/front camera' is not a valid topic name"),
        ("video.front.topic", "front//image", "'front//image' is not a valid topic name"),
        ("video.front.topic", "null", 'topic null is a text to ROS: give a value, or "" for none'),
        ("action.arm.topic", "~", "topic ~ is a text to ROS"),
        ("instruction", "NULL", "instruction NULL is a text to ROS"),
        ("policy.host", "null", "host null is a text to ROS"),
        ("enable_topic", "null", "enable_topic null is a text to ROS"),
        ("video.front.topic", "/1/image", "'/1/image' is not a valid topic name"),
        ("video.front.topic", "front/", "'front/' is not a valid topic name"),
        ("video.front.width", -1, "must be 0 to 16384, got -1"),
        ("state.arm.joints", "shoulder", "must be a list of names, got 'shoulder'"),
        ("state.arm.joints", [1, 2], "must be a list of names, got [1, 2]"),
        (
            "state.arm.field",
            "torque",
            "must be one of position | velocity | effort, got 'torque'",
        ),
        ("state.arm.scale", [1.0, "x"], "must be a number or a list of numbers"),
        ("state.arm.scale", [], "must be a number or a list of numbers, got []"),
        ("state.arm.offset", [float("inf")], "must be finite, got [inf]"),
        ("state.arm.select", 0, "must be a list of whole numbers, got 0"),
        ("state.arm.select", [0.0], "must be a list of whole numbers, got [0.0]"),
        ("state.arm.select", [-1], "must be 0 to 10000, got [-1]"),
        ("state.arm.sources", [1], "must be a list of names, got [1]"),
        (
            "action.arm.representation",
            "euler",
            "must be one of xyz_rot6d | xyz_rotvec | xyz_quat | xyz_rpy",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: Any, problem: str) -> None:
    found = value_problem(named(name), value)
    assert found is not None
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("control_rate_hz", 50),
        ("state.arm.scale", 57.3),
        ("state.arm.scale", [1, 2.5]),
        ("state.arm.select", [0, 2]),
        ("state.tool.representation", "xyz_rpy"),
        ("video.front.topic", "~/image"),
        ("video.front.topic", "/robot1/{ns}/image_raw"),
        ("video.front.topic", "image"),
    ],
)
def test_values_that_people_write_are_taken(name: str, value: Any) -> None:
    assert value_problem(named(name), value) is None
