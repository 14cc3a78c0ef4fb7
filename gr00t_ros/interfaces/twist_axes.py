# SPDX-License-Identifier: Apache-2.0
"""The common parts of the message types that carry a twist. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import CommandInterface, LimitedBy, Values

AXES = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
AXES_PARAMETER = Parameter(
    "axes",
    list(AXES),
    "which components the policy's values are, in order; the others stay zero. A base that moves "
    "in the plane has linear.x, linear.y and angular.z",
    choices=AXES,
)


class TwistAxes(CommandInterface):
    """Linear (m/s) and angular (rad/s) velocity, of which the policy commands some components."""

    parameters = (AXES_PARAMETER,)
    limited_by = LimitedBy.BODY_LIMITS
    holds_zero = True

    def __init__(self, settings: Settings) -> None:
        axes: list[str] = settings["axes"]
        if not axes or len(set(axes)) < len(axes):
            raise ValueError(f"axes must name one or more components, each once, got {axes}")
        self._places = [AXES.index(axis) for axis in axes]
        self.dimension = len(axes)

    @property
    def command_dimension(self) -> int:
        """A whole twist, whatever the policy commands of it."""
        return len(AXES)

    def si_values(self, values: Values) -> Values:
        twists = np.zeros((len(values), len(AXES)))
        twists[:, self._places] = values
        return twists


def fill_twist(twist: Any, values: Values) -> None:
    """Write six values, m/s and rad/s, into a geometry_msgs/Twist."""
    linear, angular = twist.linear, twist.angular
    linear.x, linear.y, linear.z = values[:3].tolist()
    angular.x, angular.y, angular.z = values[3:].tolist()


def twist_values(twist: Any) -> Values:
    """Return the six values of a geometry_msgs/Twist, m/s and rad/s."""
    linear, angular = twist.linear, twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
