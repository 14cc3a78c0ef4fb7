# SPDX-License-Identifier: Apache-2.0
"""control_msgs/ParallelGripperCommand: the action of ros2_control's parallel gripper controller."""

from __future__ import annotations

from array import array
from typing import Any

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import Values
from gr00t_ros.interfaces.joint_names import GripperGoalCommand
from gr00t_ros.interfaces.optional_types import optional_type
from gr00t_ros.interfaces.registry import command_interface


@command_interface("parallel_gripper_command")
class ParallelGripperCommand(GripperGoalCommand):
    """The position of one gripper joint as the goal of an action, when it changes."""

    message_type = optional_type("control_msgs", "action", "ParallelGripperCommand")
    parameters = (
        *GripperGoalCommand.parameters,
        Parameter(
            "goal_velocity",
            0.0,
            "m/s or rad/s, largest velocity on the way to a goal; 0: the controller's own",
            0.0,
            100.0,
        ),
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._velocity = float(settings["goal_velocity"])

    def make_message(self, period_s: float) -> Any:
        goal = self.message_type.Goal()
        goal.command.name = list(self.joints)
        goal.command.velocity = array("d", [self._velocity] if self._velocity else [])
        goal.command.effort = array("d", [self.max_effort] if self.max_effort else [])
        return goal

    def fill(self, message: Any, values: Values, stamp: Any) -> None:
        message.command.position = array("d", values.tobytes())

    def outcome(self, result: Any) -> str:
        word = "stalled at" if result.stalled else "reached" if result.reached_goal else "ended at"
        return f"{word} {', '.join(f'{position:.4g}' for position in result.state.position)}"
