# SPDX-License-Identifier: Apache-2.0
"""The ender for a policy that says itself when it is done."""

from __future__ import annotations

import math

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.msg import ActionChunk
from gr00t_ros.task.dwell import Bounds, Dwell
from gr00t_ros.task.ender import FOR_S, Ender, Reading
from gr00t_ros.task.ender_registry import ender


@ender("policy")
class PolicyEnder(Ender):
    """Ends when a number or a truth value of the policy's `info` is within bounds for a time."""

    parameters = (
        Parameter("key", "", "its key in `info`, such as done or progress", required=True),
        Parameter("above", 0.5, "lower bound of the value; true is 1, false is 0"),
        Parameter("below", math.inf, "upper bound of the value"),
        FOR_S,
    )

    def __init__(self, settings: Settings) -> None:
        self._key = settings["key"]
        self._bounds = Bounds(settings["above"], settings["below"])
        self._dwell = Dwell(settings["for_s"])
        self._text = "no chunk yet"

    def receive_chunk(self, chunk: ActionChunk, at_s: float) -> None:
        values = {value.name: value.value for value in chunk.info}
        if self._key not in values:
            self._dwell.update(False, at_s)
            hint = did_you_mean(self._key, values)
            self._text = f"the policy's info has no number {self._key}{hint}"
            return
        value = values[self._key]
        self._dwell.update(value in self._bounds, at_s)
        self._text = f"{self._key} is {value:.4g}, {self._bounds} is asked for"

    def reading(self, at_s: float) -> Reading:
        return Reading(self._dwell.progress, self._text)
