# SPDX-License-Identifier: Apache-2.0
"""control_msgs/JointTrajectoryControllerState: what a controller of ros2_control says of itself."""

from __future__ import annotations

from typing import Any

from gr00t_ros.contract.parameter import Settings
from gr00t_ros.interfaces.interface import StateInterface, Values
from gr00t_ros.interfaces.joint_names import JOINTS, unique_joints, values_by_name
from gr00t_ros.interfaces.optional_types import optional_type, require_installed
from gr00t_ros.interfaces.registry import state_interface


@state_interface("controller_state")
class ControllerState(StateInterface):
    """Measured positions of named joints, from the state topic of their controller."""

    message_type = optional_type("control_msgs", "msg", "JointTrajectoryControllerState")
    parameters = (JOINTS,)

    def __init__(self, settings: Settings) -> None:
        require_installed(self.message_type)
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints)
        self.measured_joints = self.joints

    def read(self, message: Any) -> Values:
        return values_by_name(self.joints, message.joint_names, message.feedback.positions)
