# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/PoseStamped: the measured or the commanded pose of a body."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.contract.workspace_sides import SIDES_PARAMETERS, sides_of, sides_problems
from gr00t_ros.interfaces.interface import (
    CommandInterface,
    ConversionError,
    LimitedBy,
    MeasuredPose,
    StateInterface,
    Values,
    require_frame,
)
from gr00t_ros.interfaces.pose_representations import (
    DIMENSIONS,
    FORMS,
    poses_as_quaternions,
    represented,
)
from gr00t_ros.interfaces.registry import command_interface, state_interface

REPRESENTATION = Parameter(
    "representation",
    "",
    f"how the policy writes a pose: x y z in m, and then {FORMS}",
    choices=tuple(DIMENSIONS),
    required=True,
)


NO_SIDES = {parameter.name: parameter.default for parameter in SIDES_PARAMETERS}


@state_interface("pose_stamped")
class PoseState(StateInterface):
    """A pose, in the representation that the policy was trained on."""

    message_type = PoseStamped
    parameters = (REPRESENTATION,)
    measures_pose = True

    def __init__(self, settings: Settings) -> None:
        self._representation: str = settings["representation"]
        self.dimension = DIMENSIONS[self._representation]

    def read(self, message: PoseStamped) -> Values:
        return represented(_values(message), self._representation)

    def pose(self, message: PoseStamped) -> MeasuredPose:
        return MeasuredPose(_values(message), message.header.frame_id)


@command_interface("pose_stamped")
class PoseCommand(CommandInterface):
    """A pose in `frame_id`."""

    message_type = PoseStamped
    parameters = (
        REPRESENTATION,
        Parameter("frame_id", "", "frame of the command", required=True),
        *SIDES_PARAMETERS,
    )
    limited_by = LimitedBy.BODY_LIMITS
    commands_pose = True

    def __init__(self, settings: Settings) -> None:
        self._representation: str = settings["representation"]
        self.frame_id = settings["frame_id"]
        self.dimension = DIMENSIONS[self._representation]
        settings = {**NO_SIDES, **settings}
        problems = "; ".join(sides_problems(settings))
        if problems:
            raise ValueError(problems)
        self.sides = sides_of(settings)

    def si_values(self, values: Values) -> Values:
        return poses_as_quaternions(values, self._representation)

    def policy_values(self, values: Values) -> Values:
        return represented(values, self._representation)

    def make_message(self, period_s: float) -> PoseStamped:
        message = PoseStamped()
        message.header.frame_id = self.frame_id
        message.pose.orientation.w = (
            0.0  # a zero quaternion: no earlier rotation fixes the sign of the first
        )
        return message

    def fill(self, message: PoseStamped, values: Values, stamp: Any) -> None:
        message.header.stamp = stamp
        position, orientation = message.pose.position, message.pose.orientation
        previous = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
        quaternion = values[3:] / np.linalg.norm(values[3:])  # interpolation changes its length
        # q and -q are one rotation: a receiver that filters values would swing through zero.
        if quaternion @ previous < 0.0:
            quaternion = -quaternion
        position.x, position.y, position.z = values[:3].tolist()
        orientation.x, orientation.y, orientation.z, orientation.w = quaternion.tolist()

    def read(self, message: PoseStamped) -> Values:
        require_frame(message, self.frame_id)
        values = _values(message)
        length = float(np.linalg.norm(values[3:]))
        if not length > 0.0:
            raise ConversionError("the rotation of the pose has length zero")
        return np.concatenate([values[:3], values[3:] / length])


def _values(message: PoseStamped) -> Values:
    """x y z (m) and a quaternion x y z w, float64 (7,)."""
    p, q = message.pose.position, message.pose.orientation
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
