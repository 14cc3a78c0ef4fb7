# SPDX-License-Identifier: Apache-2.0
"""From a contract to a player."""

from __future__ import annotations

import math

import pytest
from motion_contracts import LAYOUT, POSE, POSE_LAYOUT, TWIST, UNMEASURED_POSE, contract_of

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.recording import RecordingPlayer
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.limits_in_force import limits_in_force
from gr00t_ros.control.motion_setup import make_layout, make_player


def settings_of(
    contract: Contract, layout: ActionLayout = LAYOUT, urdf: dict[str, UrdfLimits] | None = None
) -> PlayerSettings:
    return make_player(contract, layout, urdf or {})._playback.settings


def test_the_layout_is_that_of_the_first_chunk_in_the_order_of_the_contract() -> None:
    contract = contract_of(
        action__arm__type="pose_stamped",
        action__arm__representation="xyz_quat",
        action__arm__frame_id="base",
        action__arm__joints=None,
        action__arm__topic="pose",
        action__arm__unmeasured=True,
        action__gripper__type="float64_multi_array",
        action__gripper__joints=None,
        action__gripper__unmeasured=True,
    )
    layout = make_layout(contract, {"gripper": 3, "arm": 7})
    assert layout.dimensions == {"arm": 7, "gripper": 3}
    assert layout.rotations == (slice(3, 7),)


def test_the_parameters_of_motion_reach_the_player() -> None:
    contract = contract_of(
        blend="rtc", blend_s=0.3, interpolation="linear", max_jump=0.25, control_rate_hz=50.0
    )
    settings = settings_of(contract)
    assert settings.schedule == ScheduleSettings(BlendMode.RTC, blend_s=0.3, cubic=False)
    assert (settings.period_s, settings.max_jump) == (0.02, 0.25)
    assert settings_of(contract_of(max_jump=0.0)).max_jump == math.inf


def test_a_run_is_recorded_where_that_is_asked_for() -> None:
    assert type(make_player(contract_of(), LAYOUT, {})) is MotionPlayer
    recorder = make_player(contract_of(record_path="run.jsonl"), LAYOUT, {})
    assert type(recorder) is RecordingPlayer


def test_each_joint_may_be_as_old_as_its_own_stream_says() -> None:
    contract = contract_of(max_age_s=0.5, state__gripper__max_age_s=2.0)
    assert settings_of(contract).max_joint_ages_s == {0: 0.5, 1: 0.5, 2: 2.0}


def test_joints_that_no_stream_tells_may_be_of_any_age() -> None:
    contract = contract_of(state__gripper__field="effort", action__gripper__unmeasured=True)
    assert settings_of(contract).max_joint_ages_s == {0: 0.5, 1: 0.5}


def test_limits_of_the_contract_are_per_joint_or_common() -> None:
    contract = contract_of(
        action__arm__max_velocity=[1.0, 2.0], action__arm__min_position=[-1.0, -2.0]
    )
    limits = settings_of(contract).limits
    assert limits[0] == JointLimits(-1.0, math.inf, 1.0, 25.0, 500.0)
    assert limits[1] == JointLimits(-2.0, math.inf, 2.0, 25.0, 500.0)
    assert limits[2] == JointLimits(-math.inf, math.inf, 3.0, 25.0, 500.0)


def test_of_contract_and_description_the_tighter_holds_one_by_one() -> None:
    contract = contract_of(action__arm__min_position=-1.0, action__arm__max_position=2.0)
    urdf = {"shoulder": UrdfLimits(-3.0, 1.0, 9.0), "elbow": UrdfLimits(velocity=0.5)}
    limits = settings_of(contract, urdf=urdf).limits
    assert limits[0] == JointLimits(-1.0, 1.0, 3.0, 25.0, 500.0)
    assert limits[1] == JointLimits(-1.0, 2.0, 0.5, 25.0, 500.0)


@pytest.mark.parametrize("told", [UrdfLimits(3.0, 4.0), UrdfLimits(1.0, 1.0)])
def test_limits_that_contradict_each_other_name_the_joint(told: UrdfLimits) -> None:
    contract = contract_of(action__arm__max_position=2.0)
    with pytest.raises(ValueError, match=r"action\.arm, joint elbow: lower limit .* must be below"):
        make_player(contract, LAYOUT, {"elbow": told})


def test_every_limit_in_force_says_where_it_comes_from() -> None:
    contract = contract_of(
        action__arm__min_position=-1.0, action__arm__max_velocity=3.0, action__arm__max_jerk=9.0
    )
    urdf = {"shoulder": UrdfLimits(-3.0, 1.0, 9.0), "elbow": UrdfLimits(velocity=0.5)}
    shoulder, elbow, finger = limits_in_force(contract, urdf)
    assert [joint.joint for joint in (shoulder, elbow, finger)] == ["shoulder", "elbow", "finger"]
    assert (elbow.key, elbow.number) == ("arm", 1)
    assert (shoulder.lower, shoulder.upper, shoulder.position) == ("yaml", "urdf", "yaml/urdf")
    # The user's 3.0 is the default's value, and is tighter than the 9.0 of the description.
    assert (shoulder.velocity, shoulder.acceleration, shoulder.jerk) == ("yaml", "default", "yaml")
    assert (elbow.position, elbow.velocity, elbow.limits.velocity) == ("yaml/default", "urdf", 0.5)
    assert (finger.position, finger.velocity) == ("default", "default")
    assert finger.limits == JointLimits(-math.inf, math.inf, 3.0, 25.0, 500.0)


def test_twists_are_limited_as_bodies_and_are_zeroed_when_held() -> None:
    contract = contract_of(**TWIST)
    settings = settings_of(contract, ActionLayout({"arm": 6, "gripper": 1}))
    assert settings.bodies == {"arm": BodyLimits(1.0, 5.0, 3.0, 15.0)}
    assert set(settings.limits) == {6}
    assert set(settings.max_joint_ages_s) == {6}


def test_the_limits_of_a_pose_are_those_of_the_parameters_and_its_age_that_of_its_stream() -> None:
    contract = contract_of(
        **POSE, action__arm__max_linear_velocity=0.25, action__arm__max_angular_acceleration=4.0
    )
    settings = settings_of(contract, POSE_LAYOUT)
    assert settings.bodies == {"arm": BodyLimits(0.25, 5.0, 3.0, 4.0)}
    assert settings.max_joint_ages_s == {0: 0.5, 7: 0.5}
    without = contract_of(**UNMEASURED_POSE)
    assert settings_of(without, POSE_LAYOUT).max_joint_ages_s == {7: 0.5}


def test_an_array_with_joint_names_is_limited_and_one_without_is_not() -> None:
    changes = {
        "action__arm__type": "float64_multi_array",
        "action__arm__topic": "array",
    }
    assert set(settings_of(contract_of(**changes)).limits) == {0, 1, 2}
    without = contract_of(**changes, action__arm__joints=None, action__arm__unmeasured=True)
    assert set(settings_of(without).limits) == {2}


def test_velocities_with_joint_names_are_limited_by_the_tighter_speed_and_have_no_range() -> None:
    contract = contract_of(
        action__arm__type="float64_multi_array",
        action__arm__topic="array",
        action__arm__when_holding="zero",
        action__arm__max_velocity=0.5,
    )
    urdf = {"shoulder": UrdfLimits(-3.0, 1.0, 0.25), "elbow": UrdfLimits(-3.0, 1.0, 9.0)}
    limits = settings_of(contract, urdf=urdf).limits
    assert limits[0] == JointLimits(-math.inf, math.inf, 0.25, 25.0, 500.0)
    assert limits[1] == JointLimits(-math.inf, math.inf, 0.5, 25.0, 500.0)
    told = [(joint.position, joint.velocity) for joint in limits_in_force(contract, urdf)[:2]]
    assert told == [("default", "urdf"), ("default", "yaml")]
