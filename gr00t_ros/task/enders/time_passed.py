# SPDX-License-Identifier: Apache-2.0
"""The ender of a subtask that lasts for a fixed time."""

from __future__ import annotations

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.task.ender import Ender, Reading
from gr00t_ros.task.ender_registry import ender
from gr00t_ros.task.outcome import Outcome


@ender("time")
class TimeEnder(Ender):
    """Ends after a time; says nothing of success."""

    parameters = (
        Parameter("after_s", 0.0, "s, duration of the subtask", 0.0, 86400.0, required=True),
    )
    outcome = Outcome.UNKNOWN

    def __init__(self, settings: Settings) -> None:
        self._after_s = float(settings["after_s"])

    def reading(self, at_s: float) -> Reading:
        return Reading(min(at_s / self._after_s, 1.0), f"{at_s:.1f} of {self._after_s:g} s")
