# SPDX-License-Identifier: Apache-2.0
"""Commands in arrays and twists, and what holding means."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from gr00t_ros.interfaces.interface import LimitedBy
from gr00t_ros.interfaces.message_types.float64_multi_array import ArrayCommand
from gr00t_ros.interfaces.message_types.twist import TwistCommand
from gr00t_ros.interfaces.message_types.twist_stamped import TwistStampedCommand
from gr00t_ros.interfaces.twist_axes import AXES


@pytest.mark.parametrize(
    ("joints", "when_holding", "limited_by", "dimension", "holds_zero"),
    [
        (["a", "b"], "last", LimitedBy.JOINT_LIMITS, 2, False),
        (["a", "b"], "zero", LimitedBy.JOINT_LIMITS, 2, True),
        ([], "zero", LimitedBy.NOTHING, None, True),
    ],
)
def test_an_array_is_limited_by_its_joints_and_held_as_the_user_says(
    joints: list[str],
    when_holding: str,
    limited_by: LimitedBy,
    dimension: int | None,
    holds_zero: bool,
) -> None:
    interface = ArrayCommand({"joints": joints, "when_holding": when_holding})
    assert (interface.limited_by, interface.dimension) == (limited_by, dimension)
    assert interface.holds_zero is holds_zero
    assert interface.joined([interface]) is None


def test_an_array_has_the_bare_values() -> None:
    interface = ArrayCommand({"joints": [], "when_holding": "last"})
    message = interface.make_message(0.01)
    interface.fill(message, np.array([1.0, 2.0, 3.0]), Time())
    assert list(message.data) == [1.0, 2.0, 3.0]


def test_a_twist_has_a_frame_and_a_stamp_and_is_held_by_zeros() -> None:
    interface = TwistStampedCommand({"frame_id": "base", "axes": list(AXES)})
    stamp = Time(sec=5)
    message = interface.make_message(0.01)
    interface.fill(message, np.arange(6.0), stamp)
    assert (message.header.frame_id, message.header.stamp) == ("base", stamp)
    assert (message.twist.linear.z, message.twist.angular.x) == (2.0, 3.0)
    assert interface.holds_zero
    assert interface.limited_by is LimitedBy.BODY_LIMITS


def test_a_base_that_moves_in_the_plane_takes_three_values() -> None:
    interface = TwistCommand({"axes": ["linear.x", "linear.y", "angular.z"]})
    assert (interface.dimension, interface.command_dimension) == (3, 6)
    twists = interface.si_values(np.array([[0.1, 0.2, 0.3], [0.0, 0.0, -0.5]]))
    assert twists.tolist() == [[0.1, 0.2, 0.0, 0.0, 0.0, 0.3], [0.0, 0.0, 0.0, 0.0, 0.0, -0.5]]

    message = interface.make_message(0.01)
    interface.fill(message, twists[0], Time())
    assert (message.linear.x, message.linear.y, message.angular.z) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("axes", [[], ["linear.x", "linear.x"]])
def test_the_axes_of_a_twist_are_given_once(axes: list[str]) -> None:
    with pytest.raises(ValueError, match="axes must name one or more components, each once"):
        TwistCommand({"axes": axes})
