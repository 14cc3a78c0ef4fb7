# SPDX-License-Identifier: Apache-2.0
"""Commands held to the limits of a joint, as their differences tell."""

import numpy as np

from gr00t_policy_core.control.joint_limits import JointLimits

ROUNDING = 1.0 + 1e-9
PERIODS_S = (0.002, 0.01, 0.05, 0.1)


def require_within(commands: np.ndarray, limits: JointLimits, period_s: float) -> None:
    """The bounds hold exactly: only the rounding of the differences is forgiven."""
    rounding = 8.0 * np.finfo(float).eps * (np.abs(commands).max() + 1.0)
    assert np.isfinite(commands).all()
    assert limits.lower <= commands.min()
    assert commands.max() <= limits.upper
    for order, limit in enumerate((limits.velocity, limits.acceleration, limits.jerk), start=1):
        largest = np.abs(np.diff(commands, order)).max()
        assert largest <= limit * period_s**order * ROUNDING + rounding, f"derivative {order}"
