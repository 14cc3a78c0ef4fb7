# SPDX-License-Identifier: Apache-2.0
"""How fast a limited command closes in on its target. All limiters of positions share it."""

from __future__ import annotations

import math

CATCH_UP_PER_S = 15.0  # share of the distance to the target that is closed in a second
CATCH_UP_PER_TICK = 0.25  # and at most in a tick: more would overshoot at a low control rate
BRAKING_SHARE = 0.5  # of the limits on acceleration and jerk, kept for braking at the target


def closing_speed(
    distance: float, period_s: float, acceleration: float, jerk: float = math.inf
) -> float:
    """The speed towards a target from which the command can still be braked before it.

    Constant deceleration `a` stops within `d` from ``sqrt(2 a d)``. Where jerk alone builds the
    deceleration up and takes it back (a triangle of height ``sqrt(j v)``), the way is
    ``v sqrt(v / j)``, hence ``v = (j d^2)^(1/3)``.

    Args:
        distance: Between the command and the target, rad or m; > 0 where `jerk` is infinite.
        period_s: Time between two commands, s.
        acceleration: The limit of the commands, rad/s^2 or m/s^2.
        jerk: The limit of the commands, rad/s^3 or m/s^3; infinite where there is none.
    """
    return min(
        min(CATCH_UP_PER_S, CATCH_UP_PER_TICK / period_s) * distance,
        math.sqrt(2.0 * BRAKING_SHARE * acceleration * distance),
        math.pow(BRAKING_SHARE * jerk * distance**2, 1.0 / 3.0),
    )
