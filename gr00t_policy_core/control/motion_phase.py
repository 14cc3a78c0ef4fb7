# SPDX-License-Identifier: Apache-2.0
"""What the commands of a player do at present."""

from __future__ import annotations

from enum import Enum


class MotionPhase(Enum):
    """What the commands do at present."""

    STARTING = "starting"
    """A chunk was accepted; the first command, where the robot is measured, is still to come."""

    FOLLOWING = "following"
    """The commands follow the path of the chunks."""

    SETTLING = "settling"
    """The chunk has ended, and the commands go to its last step."""

    BRAKING = "braking"
    """The commands come to rest as fast as the limits allow."""

    RESTING = "resting"
    """The commands stand still, or nothing was commanded yet."""

    YIELDING = "yielding"
    """Motion is forbidden, and the commands go to where somebody has moved the robot."""
