# SPDX-License-Identifier: Apache-2.0
"""trajectory_msgs/JointTrajectory: what a joint_trajectory_controller of ros2_control takes."""

from __future__ import annotations

from array import array
from typing import Any

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.interfaces.interface import ConversionError, Values
from gr00t_ros.interfaces.joint_names import JointGroupCommand, values_by_name
from gr00t_ros.interfaces.registry import command_interface


@command_interface("joint_trajectory")
class JointTrajectoryCommand(JointGroupCommand):
    """Positions of named joints, as one point to reach within one control period.

    The stamp is 0, so a controller begins at once.
    """

    message_type = JointTrajectory

    def make_message(self, period_s: float) -> JointTrajectory:
        seconds, nanoseconds = divmod(round(period_s * 1e9), 1_000_000_000)
        point = JointTrajectoryPoint(time_from_start=Duration(sec=seconds, nanosec=nanoseconds))
        return JointTrajectory(joint_names=list(self.message_joints), points=[point])

    def fill(self, message: JointTrajectory, values: Values, stamp: Any) -> None:
        message.points[0].positions = array("d", values.tobytes())

    def read(self, message: JointTrajectory) -> Values:
        if len(message.points) != 1:
            raise ConversionError(f"the trajectory has {len(message.points)} points, expected one")
        return values_by_name(self.message_joints, message.joint_names, message.points[0].positions)
