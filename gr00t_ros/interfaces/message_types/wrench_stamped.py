# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs/WrenchStamped: what a force-torque sensor measures."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import WrenchStamped

from gr00t_ros.interfaces.interface import StateInterface, Values
from gr00t_ros.interfaces.registry import state_interface


@state_interface("wrench_stamped")
class WrenchState(StateInterface):
    """Force x y z in N and torque x y z in N m, 6 values, in the frame of the message."""

    message_type = WrenchStamped
    dimension = 6

    def read(self, message: WrenchStamped) -> Values:
        force, torque = message.wrench.force, message.wrench.torque
        return np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])
