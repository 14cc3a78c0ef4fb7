# SPDX-License-Identifier: Apache-2.0
"""States from sensor_msgs/Imu."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from policies_for_tests import parameters
from sensor_msgs.msg import Imu

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.interfaces.conversions import state_reader
from gr00t_ros.interfaces.interface import ConversionError

HALF = float(np.sqrt(0.5))


def stream(*parts: str, **changes: object) -> StateStream:
    settings = {"type": "imu", "topic": "imu/data", **changes}
    if parts:
        settings["parts"] = [*parts]
    named = {f"state.body.{name}": value for name, value in settings.items()}
    return parse_contract({**parameters(), **named}).state_streams[-1]


def imu(x: float = 0.0, y: float = 0.0, z: float = 0.0, w: float = 1.0) -> Imu:
    message = Imu()
    q, v, a = message.orientation, message.angular_velocity, message.linear_acceleration
    q.x, q.y, q.z, q.w = x, y, z, w
    v.x, v.y, v.z = 1.0, 2.0, 3.0
    a.x, a.y, a.z = 4.0, 5.0, 6.0
    return message


def test_all_of_it_is_read_unless_parts_are_named() -> None:
    body = stream()
    assert body.dimension == 10
    assert_allclose(state_reader(body)(imu()), [0, 0, 0, 1, 1, 2, 3, 4, 5, 6])


def test_parts_are_read_in_their_order() -> None:
    body = stream("linear_acceleration", "angular_velocity")
    assert_allclose(state_reader(body)(imu()), [4, 5, 6, 1, 2, 3])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("xyzw", [HALF, 0, 0, HALF]),
        ("rot6d", [1, 0, 0, 0, 0, -1]),  # rows of the matrix: y turns into z
        ("projected_gravity", [0, -1, 0]),  # the sensor's y axis points up
    ],
)
def test_an_orientation_is_read_in_each_form(part: str, expected: list[float]) -> None:
    body = stream(part)
    assert body.dimension == len(expected)
    quarter_turn_about_x = imu(x=2 * HALF, w=2 * HALF)  # of norm 2
    assert_allclose(state_reader(body)(quarter_turn_about_x), expected, atol=1e-6)


def test_gravity_points_down_where_the_sensor_stands_upright_however_it_is_turned() -> None:
    read = state_reader(stream("projected_gravity"))
    assert_allclose(read(imu()), [0, 0, -1])
    assert_allclose(read(imu(z=HALF, w=HALF)), [0, 0, -1], atol=1e-6)


@pytest.mark.parametrize("part", ["xyzw", "rot6d", "projected_gravity"])
def test_an_orientation_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(ConversionError, match="norm 0"):
        state_reader(stream(part))(imu(w=0.0))


@pytest.mark.parametrize("field", ["orientation", "angular_velocity", "linear_acceleration"])
def test_what_the_sensor_does_not_measure_is_refused(field: str) -> None:
    message = imu()
    getattr(message, f"{field}_covariance")[0] = -1.0
    with pytest.raises(ConversionError, match=f"the sensor does not measure {field}"):
        state_reader(stream())(message)


def test_what_is_not_asked_for_may_be_missing() -> None:
    message = imu(w=0.0)
    message.orientation_covariance[0] = -1.0
    assert_allclose(state_reader(stream("angular_velocity"))(message), [1, 2, 3])


def test_a_part_that_there_is_none_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match=r"state.body.parts: must be a list of some of xyzw \| rot"):
        stream("euler")


def test_no_part_is_none() -> None:
    with pytest.raises(SpecError, match=r"state\.body: parts is empty: there is nothing to read"):
        stream(parts=[])
