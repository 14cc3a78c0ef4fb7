# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/Twist: the commanded velocity of a mobile base."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import Twist

from gr00t_ros.interfaces.interface import Values
from gr00t_ros.interfaces.registry import command_interface
from gr00t_ros.interfaces.twist_axes import TwistAxes, fill_twist, twist_values


@command_interface("twist")
class TwistCommand(TwistAxes):
    """Linear (m/s) and angular (rad/s) velocity in the robot's own frame; zero at rest."""

    message_type = Twist

    def make_message(self, period_s: float) -> Twist:
        return Twist()

    def fill(self, message: Twist, values: Values, stamp: Any) -> None:
        fill_twist(message, values)

    def read(self, message: Twist) -> Values:
        return twist_values(message)
