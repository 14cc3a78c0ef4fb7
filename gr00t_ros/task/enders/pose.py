# SPDX-License-Identifier: Apache-2.0
"""The ender for a body, such as the tip of the arm or an object, that is near a pose."""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import PoseStamped

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.task.dwell import Dwell
from gr00t_ros.task.ender import FOR_S, Ender, Reading
from gr00t_ros.task.ender_registry import ender

POSITION_VALUES, ORIENTATION_VALUES = 3, 4


@ender("pose")
class PoseEnder(Ender):
    """Ends when a measured pose is near a given one for a time."""

    message_type = PoseStamped
    parameters = (
        Parameter("topic", "", "topic of the geometry_msgs/PoseStamped", required=True),
        Parameter("position", [0.0], "m, x y z of the given position"),
        Parameter("within_m", 0.02, "m, largest distance from it", 1e-6, 1000.0),
        Parameter("orientation", [0.0], "quaternion x y z w; not given: any orientation will do"),
        Parameter("within_rad", 0.0, "rad, largest angle to it, with orientation", 0.0, math.pi),
        Parameter("frame_id", "", "frame of the given pose; empty: that of the messages"),
        FOR_S,
    )

    def __init__(self, settings: Settings) -> None:
        self.topic = settings["topic"]
        self._position = np.asarray(settings["position"], np.float64).reshape(-1)
        self._orientation = np.asarray(settings["orientation"], np.float64).reshape(-1)
        self._within_m, self._within_rad = settings["within_m"], settings["within_rad"]
        self._frame_id = settings["frame_id"]
        self._dwell = Dwell(settings["for_s"])
        self._text = f"no pose on {self.topic} yet"
        if len(self._position) != POSITION_VALUES:
            raise ValueError("position: must be three numbers x y z, m")
        self._has_orientation = len(self._orientation) > 1
        if self._has_orientation != (self._within_rad > 0.0):
            raise ValueError("orientation and within_rad go together: give both or neither")
        if self._has_orientation:
            self._orientation = self._normalized(self._orientation)

    def receive(self, message: PoseStamped, at_s: float) -> None:
        frame_id = message.header.frame_id
        if self._frame_id and frame_id != self._frame_id:
            self._dwell.update(False, at_s)
            self._text = f"{self.topic} is in the frame {frame_id!r}, not {self._frame_id!r}"
            return
        point, turn = message.pose.position, message.pose.orientation
        away_m = float(np.linalg.norm(self._position - (point.x, point.y, point.z)))
        is_near = away_m < self._within_m
        self._text = f"{away_m:.4g} m away, {self._within_m:g} is asked for"
        if self._has_orientation:
            away_rad = self._angle_rad(np.array([turn.x, turn.y, turn.z, turn.w]))
            is_near = is_near and away_rad < self._within_rad
            self._text += f"; turned {away_rad:.3g} rad, {self._within_rad:g} is asked for"
        self._dwell.update(is_near, at_s)

    def reading(self, at_s: float) -> Reading:
        return Reading(self._dwell.progress, self._text)

    def _angle_rad(self, orientation: np.ndarray) -> float:
        """The angle between an orientation and the given one; inf for a quaternion of length 0."""
        length = float(np.linalg.norm(orientation))
        if not length > 0.0:
            return math.inf
        cosine = abs(float(self._orientation @ orientation)) / length
        return 2.0 * math.acos(min(cosine, 1.0))

    @staticmethod
    def _normalized(orientation: np.ndarray) -> np.ndarray:
        length = float(np.linalg.norm(orientation))
        if len(orientation) != ORIENTATION_VALUES or not length > 0.0:
            raise ValueError("orientation: must be a quaternion x y z w")
        return orientation / length
