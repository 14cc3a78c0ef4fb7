# SPDX-License-Identifier: Apache-2.0
"""geometry_msgs as arrays."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Pose
from numpy.typing import NDArray


def pose_values(pose: Pose) -> NDArray[np.float64]:
    """Position x y z (m) and quaternion x y z w of a pose, float64 (7,)."""
    p, q = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
