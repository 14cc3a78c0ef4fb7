# SPDX-License-Identifier: Apache-2.0
"""The ender for a policy that has come to rest: its chunks predict hardly any motion."""

from __future__ import annotations

import numpy as np

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.msg import ActionChunk, ActionValues
from gr00t_ros.task.dwell import Dwell
from gr00t_ros.task.ender import Ender, Reading
from gr00t_ros.task.ender_registry import ender
from gr00t_ros.task.outcome import Outcome


@ender("convergence")
class ConvergenceEnder(Ender):
    """Ends when the motion that the chunks predict stays below a threshold.

    A policy also rests when it is stuck: the outcome is unknown unless the goal says otherwise.
    """

    parameters = (
        Parameter(
            "below",
            0.02,
            "rad or m, motion that counts as none: of any value, over a whole chunk",
            1e-9,
            1000.0,
        ),
        Parameter("for_s", 1.0, "s, how long the chunks have to predict so little", 0.0, 3600.0),
        Parameter("keys", [], "action keys that are looked at; none: all"),
        Parameter("velocity_keys", [], "those whose values are velocities, rad/s or m/s"),
    )
    outcome = Outcome.UNKNOWN

    def __init__(self, settings: Settings) -> None:
        self._below = float(settings["below"])
        self._keys = frozenset(settings["keys"])
        self._velocity_keys = frozenset(settings["velocity_keys"])
        self._dwell = Dwell(settings["for_s"])
        self._text = "no chunk yet"

    def receive_chunk(self, chunk: ActionChunk, at_s: float) -> None:
        looked_at = [a for a in chunk.actions if not self._keys or a.name in self._keys]
        missing = (self._keys | self._velocity_keys) - {action.name for action in chunk.actions}
        if missing or not looked_at:
            self._text = f"the chunks have no key {', '.join(sorted(missing))}"
            return
        motion = max(self._motion(action, chunk) for action in looked_at)
        self._dwell.update(motion < self._below, at_s)
        self._text = f"predicted motion {motion:.3g} of {self._below:g}"

    def reading(self, at_s: float) -> Reading:
        return Reading(self._dwell.progress, self._text)

    def _motion(self, action: ActionValues, chunk: ActionChunk) -> float:
        """The largest motion of one value over the chunk, rad or m."""
        values = np.asarray(action.values, np.float64).reshape(chunk.horizon, action.dimension)
        if action.name in self._velocity_keys:
            return float(np.abs(values).sum(axis=0).max() * chunk.dt)
        return float(np.ptp(values, axis=0).max())
