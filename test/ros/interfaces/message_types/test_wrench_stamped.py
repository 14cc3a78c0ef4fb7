# SPDX-License-Identifier: Apache-2.0
"""States from geometry_msgs/WrenchStamped."""

from __future__ import annotations

from geometry_msgs.msg import WrenchStamped
from numpy.testing import assert_allclose
from policies_for_tests import parameters

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.interfaces.conversions import state_reader


def stream(**changes: object) -> StateStream:
    settings = {"type": "wrench_stamped", "topic": "wrench", **changes}
    named = {f"state.force.{name}": value for name, value in settings.items()}
    return parse_contract({**parameters(), **named}).state_streams[-1]


def wrench() -> WrenchStamped:
    message = WrenchStamped()
    message.wrench.force.x, message.wrench.force.y, message.wrench.force.z = 1.0, 2.0, 3.0
    message.wrench.torque.x, message.wrench.torque.y, message.wrench.torque.z = 4.0, 5.0, 6.0
    return message


def test_force_comes_before_torque() -> None:
    assert_allclose(state_reader(stream())(wrench()), [1, 2, 3, 4, 5, 6])


def test_torque_alone_may_be_selected() -> None:
    torque = stream(select=[3, 4, 5], scale=10.0)
    assert torque.dimension == 3
    assert_allclose(state_reader(torque)(wrench()), [40, 50, 60])


def test_the_topic_carries_wrenches() -> None:
    assert stream().ros_type == "geometry_msgs/msg/WrenchStamped"
