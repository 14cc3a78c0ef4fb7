# SPDX-License-Identifier: Apache-2.0
"""trajectory_msgs/JointTrajectory: what a joint_trajectory_controller of ros2_control takes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import CommandInterface, ConversionError, Values
from gr00t_ros.interfaces.joint_names import JointGroupCommand, values_by_name
from gr00t_ros.interfaces.registry import command_interface

STREAM, TRAJECTORY = "stream", "trajectory"
MODE = Parameter(
    "mode",
    STREAM,
    "stream: one point at every tick; trajectory: the whole path to its rest, at every new chunk",
    choices=(STREAM, TRAJECTORY),
)


@command_interface("joint_trajectory")
class JointTrajectoryCommand(JointGroupCommand):
    """Positions of named joints: one point to reach within a control period, or the whole path.

    In stream mode the stamp is 0, so a controller begins at once.
    """

    message_type = JointTrajectory
    parameters = (*JointGroupCommand.parameters, MODE)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sends_trajectories = settings.get(MODE.name, MODE.default) == TRAJECTORY

    def make_message(self, period_s: float) -> JointTrajectory:
        if self.sends_trajectories:
            return JointTrajectory(joint_names=list(self.message_joints))
        seconds, nanoseconds = divmod(round(period_s * 1e9), 1_000_000_000)
        point = JointTrajectoryPoint(time_from_start=Duration(sec=seconds, nanosec=nanoseconds))
        return JointTrajectory(joint_names=list(self.message_joints), points=[point])

    def fill(self, message: JointTrajectory, values: Values, stamp: Any) -> None:
        message.points[0].positions = array("d", values.tobytes())

    def trajectory_in(self, message: JointTrajectory) -> JointTrajectory:
        return message

    def joined(self, others: Sequence[CommandInterface]) -> CommandInterface | None:
        if any(other.sends_trajectories != self.sends_trajectories for other in others):
            return None
        return super().joined(others)

    def read(self, message: JointTrajectory) -> Values:
        if len(message.points) != 1:
            raise ConversionError(f"the trajectory has {len(message.points)} points, expected one")
        return values_by_name(self.message_joints, message.joint_names, message.points[0].positions)
