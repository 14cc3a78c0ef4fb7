# SPDX-License-Identifier: Apache-2.0
"""No parameter is accepted and ignored: where each of them has an effect, by hand, for all of them.

A parameter that is new needs a row here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from policies_for_tests import parameters

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.parameters import ACTION, STATE, TOP, VIDEO, common_parameters, types_of

EVERYWHERE = "everywhere"

ARRAY = {"type": "float64_multi_array", "topic": "array"}
ACTIONS: dict[str, dict[str, Any]] = {
    "joint_trajectory": {"type": "joint_trajectory"},
    "joint_state": {"type": "joint_state", "topic": "orders"},
    "binary": {"type": "joint_trajectory", "binary": True, "closed_position": 1.0},
    "positions": ARRAY,
    "nameless positions": {**ARRAY, "joints": None, "unmeasured": True},
    "velocities": {**ARRAY, "when_holding": "zero"},
    "nameless velocities": {**ARRAY, "when_holding": "zero", "joints": None},
    "pose": {
        "type": "pose_stamped",
        "topic": "pose",
        "joints": None,
        "representation": "xyz_quat",
        "frame_id": "base",
        "unmeasured": True,
    },
    "twist": {
        "type": "twist_stamped",
        "topic": "twist",
        "joints": None,
        "frame_id": "base",
    },
}
POSITIONS = {"joint_trajectory", "joint_state", "positions", "binary"}
ARRAYS = {"positions", "nameless positions", "velocities", "nameless velocities"}
BODIES = {"pose", "twist"}
ACTION_USES: dict[str, tuple[Any, Any]] = {  # a value, and where it may be given
    "topic": ("somewhere", EVERYWHERE),
    "ignore": (False, EVERYWHERE),
    "type": (None, EVERYWHERE),
    "joints": (["shoulder", "elbow"], POSITIONS | ARRAYS),
    "joint_prefix": ("", EVERYWHERE),  # asks for nothing; these joints share no prefix
    "axes": (["linear.x", "angular.z"], {"twist"}),
    "keys": (["arm"], EVERYWHERE),
    "select": ([1, 0], EVERYWHERE),
    "teleop_topic": ("leader", EVERYWHERE),
    "unmeasured": (True, {"nameless positions", "pose"}),  # states measure the others here
    "representation": ("xyz_quat", {"pose"}),
    "frame_id": ("base", BODIES),
    "box_min": ([0.0, -1.0, 0.0], {"pose"}),
    "box_max": ([1.0, 1.0, 1.0], {"pose"}),
    "floor": ([0.0, 0.0, 1.0, 0.02], {"pose"}),
    "when_holding": ("last", ARRAYS),
    "mode": ("stream", {"joint_trajectory", "binary"}),
    "binary": (True, POSITIONS),
    "threshold": (0.6, {"binary"}),
    "hysteresis": (0.2, {"binary"}),
    "min_hold_s": (0.5, {"binary"}),
    "open_position": (0.2, {"binary"}),
    "closed_position": (0.8, {"binary"}),
    "scale": (2.0, EVERYWHERE),
    "offset": (2.0, EVERYWHERE),
    "min_position": (0.0, POSITIONS),
    "max_position": (1.0, POSITIONS),
    "max_velocity": (1.0, POSITIONS | {"velocities"}),
    "max_acceleration": (1.0, POSITIONS | {"velocities"}),
    "max_jerk": (1.0, POSITIONS | {"velocities"}),
    "max_following_error": (0.3, POSITIONS),
    "max_linear_velocity": (1.0, BODIES),
    "max_linear_acceleration": (1.0, BODIES),
    "max_angular_velocity": (1.0, BODIES),
    "max_angular_acceleration": (1.0, BODIES),
}

STATES: dict[str, dict[str, Any]] = {
    "joints": {"type": "joint_state"},
    "pose": {
        "type": "pose_stamped",
        "topic": "pose_now",
        "joints": None,
        "representation": "xyz_quat",
    },
    "array": {"type": "float64_multi_array", "topic": "array_now", "joints": None},
}
STATE_USES: dict[str, tuple[Any, Any]] = {
    "type": (None, EVERYWHERE),
    "topic": ("elsewhere", EVERYWHERE),
    "rate_hz": (30.0, EVERYWHERE),
    "max_age_s": (1.0, EVERYWHERE),
    "select": ([1, 0], EVERYWHERE),
    "sources": ([], EVERYWHERE),
    "joints": (["shoulder", "elbow"], {"joints"}),
    "joint_prefix": ("", EVERYWHERE),
    "field": ("position", {"joints"}),
    "representation": ("xyz_quat", {"pose"}),
    "scale": (2.0, EVERYWHERE),
    "offset": (2.0, EVERYWHERE),
}

SERVER: dict[str, Any] = {"policy.timeout_s": None}
LOCAL = {**SERVER, "policy.backend": "local", "policy.model_path": "checkpoint"}
ONLY_TWIST = {
    **{f"action.arm.{name}": value for name, value in ACTIONS["twist"].items()},
    **{name: None for name in parameters() if name.startswith("action.gripper.")},
}
TOPS: dict[str, dict[str, Any]] = {
    "plain": SERVER,
    "jpeg": {**SERVER, "policy.image_encoding": "jpeg"},
    "hosts": {**SERVER, "policy.hosts": ["a", "b:5556"]},
    "local": LOCAL,
    "replace": {**SERVER, "blend": "replace"},
    "ensemble": {**SERVER, "blend": "ensemble"},
    "rtc": {**SERVER, "blend": "rtc"},
    "sync": {**SERVER, "inference": "sync", "replan_interval_s": None},
    "gated": {**SERVER, "enable_topic": "enable"},
    "teleoperated": {**SERVER, "action.arm.teleop_topic": "leader"},
    "trajectories": {**SERVER, "action.arm.mode": "trajectory"},
    "switched": {**SERVER, "activate_controllers": ["arm_controller"]},
    "twist": {**SERVER, **ONLY_TWIST, "max_jump": None},
    "from state": {**SERVER, "record.action_from": "state"},
}
ON_SERVER = TOPS.keys() - {"local"}
NAMED = TOPS.keys() - {"twist"}
TOP_USES: dict[str, tuple[Any, Any]] = {
    "policy.backend": (None, EVERYWHERE),
    "policy.host": ("c", ON_SERVER - {"hosts"}),
    "policy.port": (5556, ON_SERVER),
    "policy.hosts": (["a"], ON_SERVER),
    "policy.token": ("secret", ON_SERVER),
    "policy.server_key": ("server.key", ON_SERVER),
    "policy.keys": ("me.key_secret", ON_SERVER),
    "policy.robot_name": ("left arm", ON_SERVER),
    "policy.image_encoding": (None, ON_SERVER),
    "policy.quality": (80, {"jpeg"}),
    "policy.resize": (True, ON_SERVER),
    "policy.timeout_s": (1.0, ON_SERVER),
    "policy.model_path": ("checkpoint", {"local"}),
    "policy.backbone_path": ("backbone", {"local"}),
    "policy.base_model_path": ("base", {"local"}),
    "policy.denoising_steps": (2, {"local"}),
    "policy.embodiment_tag": ("gr1", {"local"}),
    "policy.device": ("cuda", {"local"}),
    "policy.dtype": ("float32", {"local"}),
    "policy.mask_padding": (True, {"local"}),
    "policy.cuda_graphs": ("never", {"local"}),
    "policy.compile": ("default", {"local"}),
    "policy.device_images": ("never", {"local"}),
    "instruction": ("wave", EVERYWHERE),
    "action_rate_hz": (20.0, EVERYWHERE),
    "control_rate_hz": (50.0, EVERYWHERE),
    "inference": (None, EVERYWHERE),
    "replan_interval_s": (0.5, TOPS.keys() - {"sync"}),
    "max_age_s": (1.0, EVERYWHERE),
    "max_skew_s": (1.0, EVERYWHERE),
    "blend": (None, EVERYWHERE),
    "blend_s": (0.3, TOPS.keys() - {"replace", "ensemble"}),
    "interpolation": ("linear", EVERYWHERE),
    "max_jump": (0.5, NAMED),
    "out_of_range": ("return", NAMED),
    "max_observation_age_s": (1.0, EVERYWHERE),
    "task_timeout_s": (1.0, EVERYWHERE),
    "require_subscribers": (False, EVERYWHERE),
    "on_starvation": ("hold", EVERYWHERE),
    "enable_topic": ("enable", EVERYWHERE),
    "enable_timeout_s": (0.5, {"gated"}),
    "mode": ("shadow", EVERYWHERE),
    "intervene_topic": ("pedal", {"teleoperated"}),
    "teleop_timeout_s": (0.5, {"teleoperated"}),
    "robot_description_topic": ("robot_description", NAMED),
    "require_urdf": (True, NAMED),
    "trajectory_lead_s": (0.2, {"trajectories"}),
    "activate_controllers": (["arm_controller"], EVERYWHERE),
    "controller_manager": ("/arm/controller_manager", {"switched"}),
    "realtime_priority": (50, EVERYWHERE),
    "cpu_affinity": (0, EVERYWHERE),
    "record_path": ("run.jsonl", EVERYWHERE),
    "record.folder": ("demonstrations", EVERYWHERE),
    "record.task": ("wave", EVERYWHERE),
    "record.action_from": (None, EVERYWHERE),
    "record.action_lead_steps": (2, {"from state"}),
    "record.topics": (["wrench"], EVERYWHERE),
    "record.require_streams": (False, EVERYWHERE),
    "record.pedal_topic": ("pedal", EVERYWHERE),
    "record.compression": ("lz4", EVERYWHERE),
    "record.queue_mb": (64, EVERYWHERE),
    "record.min_free_mb": (100, EVERYWHERE),
    "visualize.tips": (["tool0"], EVERYWHERE),
    "visualize.rate_hz": (10.0, EVERYWHERE),
    "visualize.ghost": ("loop", EVERYWHERE),
    "visualize.image_resize": ("resize:area:256", EVERYWHERE),
    "autostart": (True, EVERYWHERE),
    "end_with_pid": (1234, EVERYWHERE),
}


def cases() -> Iterator[Any]:
    """Each parameter in each place: its name, the values, and whether it may be given."""
    for name, (value, allowed) in TOP_USES.items():
        for place, others in TOPS.items():
            yield _case(place, name, value, others, allowed)
    for field, (value, allowed) in ACTION_USES.items():
        for place, others in ACTIONS.items():
            named = {f"action.arm.{name}": other for name, other in others.items()}
            yield _case(place, f"action.arm.{field}", value, named, allowed)
    for field, (value, allowed) in STATE_USES.items():
        for place, others in STATES.items():
            measured = {} if "joints" not in others else {"action.arm.unmeasured": True}
            named = {f"state.arm.{name}": other for name, other in others.items()}
            yield _case(place, f"state.arm.{field}", value, {**measured, **named}, allowed)


def _case(place: str, name: str, value: Any, others: dict[str, Any], allowed: Any) -> Any:
    is_allowed = allowed == EVERYWHERE or place in allowed
    values = {**others, name: others.get(name) if value is None else value}
    return pytest.param(name, values, is_allowed, id=f"{name} in {place}")


def test_every_parameter_is_here() -> None:
    assert TOP_USES.keys() == {parameter.name for parameter in TOP}
    assert ACTION_USES.keys() == _names_of(ACTION, {values["type"] for values in ACTIONS.values()})
    assert STATE_USES.keys() == _names_of(STATE, {values["type"] for values in STATES.values()})
    assert all(parameter.only_with is None for parameter in common_parameters(VIDEO))


def _names_of(modality: str, types: set[str]) -> set[str]:
    """The parameters of entries of these types; others are tested beside their own modules."""
    of_types = [
        p for name, cls in types_of(modality).items() if name in types for p in cls.parameters
    ]
    return {parameter.name for parameter in (*common_parameters(modality), *of_types)}


@pytest.mark.parametrize(("name", "values", "is_allowed"), list(cases()))
def test_a_parameter_is_refused_by_name_where_it_can_have_no_effect(
    name: str, values: dict[str, Any], is_allowed: bool
) -> None:
    given = parameters(**values)
    told: list[str] = []
    try:
        parse_contract(given)
    except SpecError as error:
        told = [problem for problem in error.problems if "has no effect" in problem]
    names = [problem.partition(":")[0] for problem in told]
    assert (name in names) == (not is_allowed and name in given), told


@pytest.mark.parametrize(
    "changes",
    [
        {"policy__mask_padding": False, "policy__dtype": "", "enable_topic": ""},
        {"inference": "sync", "replan_interval_s": 0.0},
        {"blend": "replace", "blend_s": 0},
        {"action__arm__frame_id": ""},
    ],
)
def test_what_asks_for_nothing_may_be_said_anywhere(changes: dict[str, Any]) -> None:
    parse_contract(parameters(**changes))


def test_a_range_of_zero_asks_for_something() -> None:
    changes = {f"action__arm__{name}": value for name, value in ACTIONS["twist"].items()}
    with pytest.raises(SpecError, match=r"action\.arm\.max_position: has no effect here"):
        parse_contract(parameters(**changes, action__arm__max_position=0.0))
