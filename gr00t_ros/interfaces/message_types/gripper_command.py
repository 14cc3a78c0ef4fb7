# SPDX-License-Identifier: Apache-2.0
"""control_msgs/GripperCommand: the action of ros2_control's gripper_action_controller."""

from __future__ import annotations

from typing import Any

from gr00t_ros.interfaces.interface import Values
from gr00t_ros.interfaces.joint_names import GripperGoalCommand
from gr00t_ros.interfaces.optional_types import optional_type
from gr00t_ros.interfaces.registry import command_interface


@command_interface("gripper_command")
class GripperCommand(GripperGoalCommand):
    """The position of one gripper joint as the goal of an action, when it changes."""

    message_type = optional_type("control_msgs", "action", "GripperCommand")

    def make_message(self, period_s: float) -> Any:
        goal = self.message_type.Goal()
        goal.command.max_effort = self.max_effort
        return goal

    def fill(self, message: Any, values: Values, stamp: Any) -> None:
        message.command.position = float(values[0])

    def outcome(self, result: Any) -> str:
        word = "stalled at" if result.stalled else "reached" if result.reached_goal else "ended at"
        return f"{word} {result.position:.4g}"
