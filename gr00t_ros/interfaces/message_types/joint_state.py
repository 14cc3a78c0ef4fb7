# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/JointState: values of joints by name."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import StateInterface, Values
from gr00t_ros.interfaces.joint_buffer import JointBuffer
from gr00t_ros.interfaces.joint_names import (
    JOINT_PREFIX,
    JOINTS,
    JointGroupCommand,
    unique_joints,
    values_by_name,
    without_prefix,
)
from gr00t_ros.interfaces.registry import command_interface, state_interface

FIELDS = ("position", "velocity", "effort")


@state_interface("joint_state")
class JointStateState(StateInterface):
    """One field of named joints; several publishers may each send some of the joints."""

    message_type = JointState
    parameters = (
        JOINTS,
        JOINT_PREFIX,
        Parameter("field", "position", "which field of the message is read", choices=FIELDS),
    )

    def __init__(self, settings: Settings) -> None:
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints)
        self._prefix: str = settings["joint_prefix"]
        self._message_joints = without_prefix(self.joints, self._prefix)
        self.field: str = settings["field"]
        self.measured_joints = self.joints if self.field == "position" else ()

    def make_buffer(self, span_ns: int) -> JointBuffer:
        return JointBuffer(self._message_joints, self.field, span_ns=span_ns)

    def read(self, message: Any) -> Values:
        """Return the values that the buffer has merged, one per joint."""
        return np.asarray(message)

    def joint_positions(self, message: JointState) -> tuple[Sequence[str], Sequence[float]]:
        names = [self._prefix + name for name in message.name] if self._prefix else message.name
        return names, message.position


@command_interface("joint_state")
class JointStateCommand(JointGroupCommand):
    """Positions of named joints, stamped with the current time."""

    message_type = JointState

    def make_message(self, period_s: float) -> JointState:
        return JointState(name=list(self.message_joints))

    def fill(self, message: JointState, values: Values, stamp: Any) -> None:
        message.header.stamp = stamp
        message.position = array("d", values.tobytes())

    def read(self, message: JointState) -> Values:
        return values_by_name(self.message_joints, message.name, message.position)
