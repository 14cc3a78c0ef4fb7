# SPDX-License-Identifier: Apache-2.0
"""What is recorded, and under which name; what is kept of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from policies_for_tests import parameters

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.record.recorded_topics import RecordedTopic, camera_info_topic, recorded_topics
from gr00t_ros.record.saved_config import saved_config


def topics(**changes: Any) -> dict[str, RecordedTopic]:
    contract = parse_contract(parameters(**changes))
    found = recorded_topics(contract, lambda name: name if name[0] == "/" else f"/left/{name}")
    assert len({topic.name for topic in found}) == len(found)
    return {topic.name: topic for topic in found}


def test_every_topic_of_the_contract_is_recorded_by_its_full_name() -> None:
    found = topics(enable_topic="/enable", record__topics=["wrench", "/right/wrench"])
    assert found.keys() >= {
        *("/left/front/image_raw", "/left/front/camera_info", "/left/joint_states"),
        *("/left/commands", "/left/action_chunk", "/left/robot_description", "/enable"),
        *("/left/policy_node/status", "/left/control_node/status", "/tf", "/tf_static"),
        *("/left/wrench", "/right/wrench", "/left/intervention"),
    }


def test_a_topic_with_several_uses_is_recorded_once() -> None:
    found = topics(state__gripper__max_age_s=0.2)["/left/joint_states"]
    assert found.purpose == "state.arm, state.gripper"
    assert found.max_age_s == 0.2


def test_only_cameras_and_states_must_be_there() -> None:
    required = {name for name, topic in topics().items() if topic.max_age_s is not None}
    assert required == {"/left/front/image_raw", "/left/joint_states"}
    none = topics(record__require_streams=False).values()
    assert all(topic.max_age_s is None for topic in none)


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("/camera/front/image_raw", "/camera/front/camera_info"),
        ("/camera/front/image_raw/compressed", "/camera/front/camera_info"),
        ("image", "camera_info"),
    ],
)
def test_the_calibration_stands_beside_the_images(image: str, info: str) -> None:
    assert camera_info_topic(image) == info


def test_secrets_and_what_concerns_the_process_are_not_kept() -> None:
    values = parameters(
        policy__token="secret", policy__keys="me.key_secret", autostart=True, end_with_pid=7
    )
    text = saved_config(values, lambda name: f"/left/{name}")
    kept = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert kept.keys() == parameters().keys()
    assert kept["video.front.topic"] == "/left/front/image_raw"
    assert "secret" not in text


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"record__topics": ["a b"]}, "record.topics: 'a b' is not a valid topic name"),
        ({"record__topics": ""}, "record.topics: must be a list of names, got ''"),
        ({"record__pedal_topic": "1"}, "record.pedal_topic: '1' is not a valid topic name"),
        ({"record__action_from": "leader"}, "must be one of command | state, got 'leader'"),
        ({"record__action_lead_steps": 2}, "only with record.action_from: state"),
        ({"record__compression": "gz"}, "must be one of none | lz4 | zstd, got 'gz'"),
        (
            {"record__action_from": "state", "action__arm__joints": ["shoulder", "wheel"],
             "action__arm__unmeasured": True},
            "record.action_from: state needs its measurement: no state measures the position of "
            "wheel",
        ),
        (
            {"record__action_from": "state", "action__arm__type": "float64_multi_array",
             "action__arm__topic": "speeds", "action__arm__when_holding": "zero"},
            "action.arm: record.action_from: state needs its measurement: it commands velocities",
        ),
        ({"record__pedal_topic": "joint_states"}, "cannot be read as different messages"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_contract(parameters(**changes))
    assert problem in " ".join(caught.value.problems)


def test_the_action_may_be_what_is_measured_later() -> None:
    contract = parse_contract(parameters(record__action_from="state", record__action_lead_steps=3))
    assert contract.record.action_lead_steps == 3
    assert parse_contract(parameters()).record.action_lead_steps is None


def test_the_instruction_is_the_task_unless_the_file_says_another() -> None:
    assert parse_contract(parameters()).record.task == "pick up the apple"
    assert parse_contract(parameters(record__task="wave")).record.task == "wave"
