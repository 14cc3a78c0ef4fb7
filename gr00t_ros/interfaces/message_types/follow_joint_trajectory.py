# SPDX-License-Identifier: Apache-2.0
"""control_msgs/FollowJointTrajectory: the action of a joint_trajectory_controller."""

from __future__ import annotations

from typing import Any

from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.contract.parameter import Settings
from gr00t_ros.interfaces.interface import Values
from gr00t_ros.interfaces.joint_names import JointGroupCommand
from gr00t_ros.interfaces.optional_types import optional_type, require_installed
from gr00t_ros.interfaces.registry import command_interface


@command_interface("follow_joint_trajectory")
class FollowJointTrajectoryCommand(JointGroupCommand):
    """The whole path of named joints as the goal of an action, at every new chunk.

    `topic` is the name of the action. The robot stops where the controller gives a goal up.
    """

    message_type = optional_type("control_msgs", "action", "FollowJointTrajectory")
    sends_trajectories = True

    def __init__(self, settings: Settings) -> None:
        require_installed(self.message_type)
        super().__init__(settings)

    def make_message(self, period_s: float) -> Any:
        goal = self.message_type.Goal()
        goal.trajectory.joint_names = list(self.message_joints)
        return goal

    def fill(self, message: Any, values: Values, stamp: Any) -> None:
        raise NotImplementedError("an action takes whole trajectories")

    def trajectory_in(self, message: Any) -> JointTrajectory:
        return message.trajectory

    def outcome(self, result: Any) -> str:
        if not result.error_code:
            return "reached"
        return f"error {result.error_code} {result.error_string}".rstrip()

    def has_failed(self, result: Any) -> bool:
        # A joint_trajectory_controller that replaces a goal says INVALID_GOAL, or nothing.
        return result.error_code not in (result.SUCCESSFUL, result.INVALID_GOAL)
