# SPDX-License-Identifier: Apache-2.0
"""The ender for a joint, such as a gripper, that is measured within bounds."""

from __future__ import annotations

import math

from sensor_msgs.msg import JointState

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.task.dwell import Bounds, Dwell
from gr00t_ros.task.ender import FOR_S, Ender, Reading
from gr00t_ros.task.ender_registry import ender


@ender("joint")
class JointEnder(Ender):
    """Ends when the position of a joint, or a gripper, is within bounds for a time."""

    message_type = JointState
    parameters = (
        Parameter("joint", "", "name of the joint", required=True),
        Parameter("above", -math.inf, "rad or m, lower bound of its position"),
        Parameter("below", math.inf, "rad or m, upper bound of its position"),
        FOR_S,
        Parameter("topic", "joint_states", "topic of its sensor_msgs/JointState"),
    )

    def __init__(self, settings: Settings) -> None:
        self.topic = settings["topic"]
        self._joint = settings["joint"]
        self._bounds = Bounds(settings["above"], settings["below"])
        self._dwell = Dwell(settings["for_s"])
        self._text = f"no position of {self._joint} on {self.topic} yet"

    def receive(self, message: JointState, at_s: float) -> None:
        # Two nodes may publish the joints of one robot on one topic: others are not an error.
        if self._joint not in message.name:
            return
        index = message.name.index(self._joint)
        if index >= len(message.position):
            self._text = f"{self.topic} has no position of {self._joint}"
            return
        position = message.position[index]
        self._dwell.update(position in self._bounds, at_s)
        self._text = f"{self._joint} at {position:.4g}, {self._bounds} is asked for"

    def reading(self, at_s: float) -> Reading:
        return Reading(self._dwell.progress, self._text)
