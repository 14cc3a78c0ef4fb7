# SPDX-License-Identifier: Apache-2.0
"""Limits of one joint: its range, velocity, acceleration and jerk."""

from __future__ import annotations

import math
from dataclasses import dataclass

LIMIT_NAMES = ("position", "velocity", "acceleration", "jerk", "workspace")


@dataclass(frozen=True, slots=True)
class JointLimits:
    """Limits of one joint, in rad (or m) and s.

    Args:
        lower, upper: Range of the position; infinite where there is none.
        velocity, acceleration, jerk: Largest magnitudes; finite and > 0.

    Raises:
        ValueError: The range is empty, or a magnitude is not finite and > 0.
    """

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError(f"lower limit {self.lower} must be below upper limit {self.upper}")
        for name in ("velocity", "acceleration", "jerk"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} limit must be finite and > 0, got {value}")

    def tighter(self, other: JointLimits) -> JointLimits:
        """The limits that satisfy both."""
        return JointLimits(
            lower=max(self.lower, other.lower),
            upper=min(self.upper, other.upper),
            velocity=min(self.velocity, other.velocity),
            acceleration=min(self.acceleration, other.acceleration),
            jerk=min(self.jerk, other.jerk),
        )
