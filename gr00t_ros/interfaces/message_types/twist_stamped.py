# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/TwistStamped: the commanded velocity of a body."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import CommandInterface, LimitedBy, Values, require_frame
from gr00t_ros.interfaces.registry import command_interface


@command_interface("twist_stamped")
class TwistCommand(CommandInterface):
    """Linear (m/s) and angular (rad/s) velocity in a frame, 6 values; zero at rest."""

    message_type = TwistStamped
    parameters = (Parameter("frame_id", "", "frame of the command", required=True),)
    dimension = 6
    limited_by = LimitedBy.BODY_LIMITS
    holds_zero = True

    def __init__(self, settings: Settings) -> None:
        self.frame_id = settings["frame_id"]

    def make_message(self, period_s: float) -> TwistStamped:
        message = TwistStamped()
        message.header.frame_id = self.frame_id
        return message

    def fill(self, message: TwistStamped, values: Values, stamp: Any) -> None:
        message.header.stamp = stamp
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = values[:3].tolist()
        angular.x, angular.y, angular.z = values[3:].tolist()

    def read(self, message: TwistStamped) -> Values:
        require_frame(message, self.frame_id)
        linear, angular = message.twist.linear, message.twist.angular
        return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
