# SPDX-License-Identifier: Apache-2.0
"""The enders for what another node says: a success detector, a reward model, a button."""

from __future__ import annotations

import math
from typing import Any

from std_msgs.msg import Bool, Float32

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.task.dwell import Bounds, Dwell
from gr00t_ros.task.ender import FOR_S, Ender, Reading
from gr00t_ros.task.ender_registry import ender

BOOL_TOPIC = Parameter("topic", "", "topic of the std_msgs/Bool", required=True)
FLOAT_TOPIC = Parameter("topic", "", "topic of the std_msgs/Float32", required=True)


class _TopicEnder(Ender):
    """Ends when the data of a topic are as wanted for a time."""

    def __init__(self, settings: Settings) -> None:
        self.topic = settings["topic"]
        self._dwell = Dwell(settings["for_s"])
        self._text = f"nothing on {self.topic} yet"

    def reading(self, at_s: float) -> Reading:
        return Reading(self._dwell.progress, self._text)


@ender("bool")
class BoolEnder(_TopicEnder):
    """Ends when a topic says true for a time."""

    message_type = Bool
    parameters = (BOOL_TOPIC, FOR_S)

    def receive(self, message: Any, at_s: float) -> None:
        self._dwell.update(message.data, at_s)
        self._text = f"{self.topic} says {str(message.data).lower()}"


@ender("float")
class FloatEnder(_TopicEnder):
    """Ends when the number on a topic is within bounds for a time."""

    message_type = Float32
    parameters = (
        FLOAT_TOPIC,
        Parameter("above", -math.inf, "lower bound of the number"),
        Parameter("below", math.inf, "upper bound of the number"),
        FOR_S,
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._bounds = Bounds(settings["above"], settings["below"])

    def receive(self, message: Any, at_s: float) -> None:
        self._dwell.update(message.data in self._bounds, at_s)
        self._text = f"{self.topic} says {message.data:.4g}, {self._bounds} is asked for"
