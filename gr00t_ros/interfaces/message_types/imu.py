# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Imu: orientation, angular velocity and linear acceleration of a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sensor_msgs.msg import Imu

from gr00t_policy_core import rotation
from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import ConversionError, StateInterface, Values
from gr00t_ros.interfaces.registry import state_interface

GRAVITY = np.array(
    [0.0, 0.0, -1.0]
)  # direction of gravity in the world, whose z axis points up (REP-103)
NOT_MEASURED = -1.0  # as first covariance, by the definition of sensor_msgs/Imu


def _quaternion(message: Imu) -> Values:
    q = message.orientation
    return np.array([q.x, q.y, q.z, q.w])


def _matrix(message: Imu) -> Values:
    """The rotation from the frame of the sensor to the world."""
    try:
        return rotation.matrix_from_quaternion(_quaternion(message))
    except ValueError as error:
        raise ConversionError(str(error)) from error


def _xyzw(message: Imu) -> Values:
    return rotation.quaternion_from_matrix(_matrix(message))


def _rot6d(message: Imu) -> Values:
    return rotation.rot6d_from_matrix(_matrix(message))


def _projected_gravity(message: Imu) -> Values:
    return np.asarray(_matrix(message).T @ GRAVITY)


def _angular_velocity(message: Imu) -> Values:
    v = message.angular_velocity
    return np.array([v.x, v.y, v.z])


def _linear_acceleration(message: Imu) -> Values:
    a = message.linear_acceleration
    return np.array([a.x, a.y, a.z])


# By the name of a part: its number of values, the field of the message, the function that reads it.
PARTS: Mapping[str, tuple[int, str, Callable[[Imu], Values]]] = {
    "xyzw": (4, "orientation", _xyzw),
    "rot6d": (6, "orientation", _rot6d),
    "projected_gravity": (3, "orientation", _projected_gravity),
    "angular_velocity": (3, "angular_velocity", _angular_velocity),
    "linear_acceleration": (3, "linear_acceleration", _linear_acceleration),
}


@state_interface("imu")
class ImuState(StateInterface):
    """The orientation, angular velocity and linear acceleration that `parts` names."""

    message_type = Imu
    parameters = (
        Parameter(
            "parts",
            ["xyzw", "angular_velocity", "linear_acceleration"],
            "what is read, in order: the orientation as xyzw (a unit quaternion), rot6d (first two "
            "rows of the rotation matrix) or projected_gravity (direction of gravity in the frame "
            "of the sensor, 0 0 -1 where it stands upright); angular_velocity, rad/s; "
            "linear_acceleration, m/s²",
            choices=tuple(PARTS),
        ),
    )

    def __init__(self, settings: Settings) -> None:
        names: list[str] = settings["parts"]
        if not names:
            raise ValueError("parts is empty: there is nothing to read")
        self._parts = [PARTS[name] for name in names]
        self.dimension = sum(size for size, _, _ in self._parts)

    def read(self, message: Imu) -> Values:
        values = []
        for _, field, read in self._parts:
            if getattr(message, f"{field}_covariance")[0] == NOT_MEASURED:
                raise ConversionError(f"the sensor does not measure {field}: its covariance is -1")
            values.append(read(message))
        return np.concatenate(values)
