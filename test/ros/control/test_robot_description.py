# SPDX-License-Identifier: Apache-2.0
"""Which robot description counts, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest
from motion_rig import urdf
from policies_for_tests import parameters

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.suggestions import nearest
from gr00t_ros.control.robot_description import RobotDescription

LIMIT = 'lower="-1" upper="1" velocity="2"'
WHOLE = urdf(shoulder=LIMIT, elbow=LIMIT, finger=LIMIT)


def in_a_namespace(topic: str) -> str:
    return topic if topic.startswith("/") else f"/left/{topic}"


def description_of(**changes: Any) -> RobotDescription:
    return RobotDescription(parse_contract(parameters(**changes), resolve=in_a_namespace))


def test_of_two_topics_that_of_the_namespace_counts_and_the_other_until_it_comes() -> None:
    description = description_of()
    assert (description.topic, dict(description.limits)) == ("", {})
    assert description.update("/robot_description", WHOLE)
    assert description.topic == "/robot_description"
    assert description.update("robot_description", urdf(shoulder=LIMIT))
    assert description.topic == "robot_description"
    assert not description.update("/robot_description", WHOLE)
    assert list(description.limits) == ["shoulder"]
    assert description.update("robot_description", WHOLE)  # it may change
    assert len(description.limits) == 3


def test_a_broken_description_takes_no_ones_place() -> None:
    description = description_of()
    assert description.update("/robot_description", WHOLE)
    with pytest.raises(ValueError, match="is not XML"):
        description.update("robot_description", "<robot")
    assert (description.topic, len(description.limits)) == ("/robot_description", 3)


@pytest.mark.parametrize(
    ("topic", "topics"),
    [
        ("auto", ("robot_description", "/robot_description")),
        ("robot_description", ("robot_description",)),
        ("/urdf", ("/urdf",)),
        ("", ()),
    ],
)
def test_the_parameter_names_the_topics(topic: str, topics: tuple[str, ...]) -> None:
    values = parameters(robot_description_topic=topic)
    motion = parse_contract(values, resolve=in_a_namespace).motion
    assert motion.robot_description_topics == topics
    # Without a namespace, the two of them are one.
    assert len(parse_contract(values).motion.robot_description_topics) == min(1, len(topics))


def test_joints_that_the_description_does_not_have_are_told_with_the_nearest() -> None:
    description = description_of()
    left = urdf(left_shoulder=LIMIT, left_elbow=LIMIT, finger=LIMIT)
    description.update("robot_description", left)
    assert list(description.warnings()) == [
        "action.arm: the robot description has no joint shoulder (did you mean left_shoulder?): it "
        "sets no limits for it",
        "action.arm: the robot description has no joint elbow (did you mean left_elbow?): it sets "
        "no limits for it",
    ]
    assert description.motion_obstacle() == ""


def test_where_one_is_required_a_joint_without_limits_is_a_reason_not_to_move() -> None:
    description = description_of(require_urdf=True)
    assert description.motion_obstacle() == (
        "require_urdf: no robot description has arrived on robot_description or /robot_description"
    )
    description.update("robot_description", urdf(shoulder=LIMIT, elbow=LIMIT))
    assert description.motion_obstacle() == (
        "require_urdf: the robot description on robot_description has no joint finger"
    )
    description.update("robot_description", WHOLE)
    assert description.motion_obstacle() == ""
    assert list(description.warnings()) == []


def test_limits_that_contradict_each_other_are_a_reason_not_to_move() -> None:
    description = description_of(action__arm__min_position=1.5)
    assert description.motion_obstacle() == ""
    description.update("robot_description", WHOLE)
    assert description.motion_obstacle() == (
        "the limits contradict each other: action.arm, joint shoulder: lower limit 1.5 must be "
        "below upper limit 1.0"
    )


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("elbwo", ["elbow", "shoulder"], "elbow"),
        ("pan", ["left_arm_of_the_big_robot_shoulder_pan", "span"], "span"),
        ("shoulder_pan", ["left_arm_of_the_big_robot_with_shoulder_pan", "shoulder_tan"], "left"),
        ("left_shoulder_pan", ["shoulder_pan", "left_shoulder_pin"], "shoulder_pan"),
        ("wheel", ["elbow", "shoulder"], ""),
        ("wheel", [], ""),
    ],
)
def test_the_nearest_name_may_have_a_prefix_or_be_misspelt(
    name: str, known: list[str], found: str
) -> None:
    assert nearest(name, known).startswith(found)
    assert bool(nearest(name, known)) == bool(found)
