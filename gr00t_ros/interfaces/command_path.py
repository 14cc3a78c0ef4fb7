# SPDX-License-Identifier: Apache-2.0
"""The commands of an action over a whole chunk, and how well they meet the policy's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ChunkStart:
    """Where a chunk begins.

    Args:
        positions: The joints that the observation measured, by name, rad (or m).
        step_s: Time between two steps of the chunk, s.
    """

    positions: Mapping[str, float]
    step_s: float


@dataclass(frozen=True, slots=True)
class PathQuality:
    """How well the joints of a chunk meet the poses that the policy wants.

    Args:
        position_error_m, orientation_error_rad: The largest errors of the steps; NaN where no step
            was solved.
        manipulability: The smallest of the steps, 0 in a singular posture; NaN where none was.
        solve_s: How long it took, s.
        warning: Which steps are unreachable or near-singular; empty where none is.
    """

    position_error_m: float
    orientation_error_rad: float
    manipulability: float
    solve_s: float
    warning: str


@dataclass(frozen=True, slots=True)
class CommandPath:
    """The commands of one action over a chunk.

    Args:
        values: float64 (steps, `command_dimension`); fewer steps than the policy answered where
            the rest cannot be commanded.
        quality: How well they meet what the policy wants; None where they are just that.
    """

    values: NDArray[np.float64]
    quality: PathQuality | None = None
