# SPDX-License-Identifier: Apache-2.0
"""Limits of a body that is commanded in space: an end effector or a mobile base."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Largest speeds and accelerations of a pose or a twist.

    They are magnitudes of three-dimensional vectors: of the translation in m/s and m/s^2, of the
    rotation in rad/s and rad/s^2.

    Raises:
        ValueError: A limit is not finite and > 0.
    """

    linear_velocity: float
    linear_acceleration: float
    angular_velocity: float
    angular_acceleration: float

    def __post_init__(self) -> None:
        for name in (entry.name for entry in fields(self)):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} limit must be finite and > 0, got {value}")
