# SPDX-License-Identifier: Apache-2.0
"""Message definitions as text: complete, and readable without the message types."""

import pytest
from geometry_msgs.msg import Polygon
from rcl_interfaces.msg import ParameterDescriptor
from sensor_msgs.msg import CameraInfo, JointState

from gr00t_ros.bags.message_definitions import (
    definition_of_class,
    message_class,
    message_definition,
)


def test_a_definition_has_every_type_that_it_contains_once() -> None:
    text = message_definition("trajectory_msgs/msg/JointTrajectory")

    parts = text.split("=" * 80 + "\nMSG: ")
    assert "string[] joint_names" in parts[0]
    assert [part.partition("\n")[0] for part in parts[1:]] == [
        "std_msgs/Header",
        "builtin_interfaces/Time",
        "trajectory_msgs/JointTrajectoryPoint",
        "builtin_interfaces/Duration",
    ]


def test_our_own_messages_have_definitions() -> None:
    assert "MSG: gr00t_ros/ActionValues" in message_definition("gr00t_ros/msg/ActionChunk")


def test_a_definition_is_made_from_the_class_where_there_is_no_file() -> None:
    text = definition_of_class(CameraInfo)

    assert "float64[] d\n" in text
    assert "float64[9] k\n" in text
    assert "sensor_msgs/RegionOfInterest roi\n" in text


@pytest.mark.parametrize(
    ("message_type", "field"),
    [
        (JointState, "string[] name\n"),
        (Polygon, "geometry_msgs/Point32[] points\n"),
        (ParameterDescriptor, "rcl_interfaces/FloatingPointRange[<=1] floating_point_range\n"),
        (ParameterDescriptor, "bool read_only\n"),
    ],
)
def test_a_field_of_a_class_is_written_as_in_a_file(message_type: type, field: str) -> None:
    assert field in definition_of_class(message_type)


@pytest.mark.parametrize(
    "name", ["no_such_msgs/msg/Any", "std_msgs/msg/NoSuch", "os/msg/Path", "nonsense", ""]
)
def test_a_type_that_is_not_installed_is_named(name: str) -> None:
    with pytest.raises(LookupError, match=f"the message type {name} is not installed"):
        message_class(name)


def test_a_definition_of_a_type_that_is_not_installed_is_refused() -> None:
    with pytest.raises(LookupError, match="no_such_msgs"):
        message_definition("no_such_msgs/msg/Any")
