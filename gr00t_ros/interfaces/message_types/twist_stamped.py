# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/TwistStamped: the commanded velocity of a body."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TwistStamped

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import Values, require_frame
from gr00t_ros.interfaces.registry import command_interface
from gr00t_ros.interfaces.twist_axes import TwistAxes, fill_twist, twist_values


@command_interface("twist_stamped")
class TwistStampedCommand(TwistAxes):
    """Linear (m/s) and angular (rad/s) velocity in a frame; zero at rest."""

    message_type = TwistStamped
    parameters = (
        Parameter("frame_id", "", "frame of the command", required=True),
        *TwistAxes.parameters,
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.frame_id = settings["frame_id"]

    def make_message(self, period_s: float) -> TwistStamped:
        message = TwistStamped()
        message.header.frame_id = self.frame_id
        return message

    def fill(self, message: TwistStamped, values: Values, stamp: Any) -> None:
        message.header.stamp = stamp
        fill_twist(message.twist, values)

    def read(self, message: TwistStamped) -> Values:
        require_frame(message, self.frame_id)
        return twist_values(message.twist)
