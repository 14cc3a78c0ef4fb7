# SPDX-License-Identifier: Apache-2.0
"""std_msgs/Float64MultiArray: bare values, as the group controllers of ros2_control take them."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from std_msgs.msg import Float64MultiArray

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.binary_gripper import BINARY_PARAMETERS, BinaryGripper
from gr00t_ros.interfaces.interface import (
    CommandInterface,
    ConversionError,
    LimitedBy,
    StateInterface,
    Values,
)
from gr00t_ros.interfaces.joint_names import OPTIONAL_JOINTS, unique_joints
from gr00t_ros.interfaces.registry import command_interface, state_interface


@state_interface("float64_multi_array")
class ArrayState(StateInterface):
    """The values in the order of the message, whatever their meaning."""

    message_type = Float64MultiArray

    def read(self, message: Float64MultiArray) -> Values:
        return _values(message)


@command_interface("float64_multi_array")
class ArrayCommand(CommandInterface):
    """The values in the policy's order: positions; velocities or steps with when_holding: zero."""

    message_type = Float64MultiArray
    parameters = (
        OPTIONAL_JOINTS,
        Parameter(
            "when_holding",
            "last",
            "last: the values stay (positions); zero: zeros follow (velocities, deltas), and the "
            "limits of joints are those of velocities",
            choices=("last", "zero"),
        ),
        *BINARY_PARAMETERS,
    )

    def __init__(self, settings: Settings) -> None:
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints) or None
        self.limited_by = LimitedBy.JOINT_LIMITS if self.joints else LimitedBy.NOTHING
        self.holds_zero = settings["when_holding"] == "zero"
        if self.joints and not self.holds_zero:
            self.binary = BinaryGripper.of(settings, len(self.joints))

    def make_message(self, period_s: float) -> Float64MultiArray:
        return Float64MultiArray()

    def fill(self, message: Float64MultiArray, values: Values, stamp: Any) -> None:
        message.data = array("d", values.tobytes())

    def read(self, message: Float64MultiArray) -> Values:
        values = _values(message)
        if self.dimension is not None and len(values) != self.dimension:
            raise ConversionError(f"the message has {len(values)} values, not {self.dimension}")
        return values


def _values(message: Float64MultiArray) -> Values:
    if not len(message.data):
        raise ConversionError("the message has no values")
    return np.asarray(message.data, dtype=np.float64)
