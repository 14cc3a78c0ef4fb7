# SPDX-License-Identifier: Apache-2.0
"""Warnings about a chunk with implausible numbers: probably a wrong unit or rate. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from gr00t_policy_core.control.chunk import Chunk
from gr00t_ros.control.limits_in_force import LimitsInForce

RAD_PER_DEG = math.pi / 180.0
# A joint without a range turns once either way; beyond several turns its unit is questioned.
TURN_RAD = 2.0 * math.pi
IMPLAUSIBLE_RANGE = 3.0  # as a multiple of the joint's range
IMPLAUSIBLE_SPEED = 1.5  # as a multiple of its largest velocity


def unit_warning(chunk: Chunk, limits: Iterable[LimitsInForce]) -> str:
    """Return a question about the first joint whose values look like degrees, or whose steps look
    like a wrong rate; empty if there is none.

    Args:
        chunk: The chunk to check, in rad (or m).
        limits: The limits in force of the chunk's joints.
    """
    for joint in limits:
        values = chunk.actions[joint.key][:, joint.number]
        warning = _degrees_warning(values, joint) or _rate_warning(values, chunk.dt_s, joint)
        if warning:
            return warning
    return ""


def _degrees_warning(values: np.ndarray, joint: LimitsInForce) -> str:
    largest = float(np.abs(values).max())
    range_rad = max(abs(joint.limits.lower), abs(joint.limits.upper))
    if math.isinf(range_rad):
        range_rad = TURN_RAD
    if largest <= IMPLAUSIBLE_RANGE * range_rad or largest * RAD_PER_DEG > range_rad:
        return ""
    return (
        f"the chunk asks {largest:.3g} rad of {joint.joint}, whose range is ±{range_rad:.2g}: "
        f"degrees? then action.{joint.key}.scale is {RAD_PER_DEG:.6f}"
    )


def _rate_warning(values: np.ndarray, dt_s: float, joint: LimitsInForce) -> str:
    if len(values) < 2:
        return ""
    speed = float(np.abs(np.diff(values)).max()) / dt_s
    if speed <= IMPLAUSIBLE_SPEED * joint.limits.velocity:
        return ""
    return (
        f"the chunk moves {joint.joint} at {speed:.3g} rad/s, max_velocity is "
        f"{joint.limits.velocity:g}: is action_rate_hz ({1.0 / dt_s:.3g}) the rate of the "
        "training data?"
    )
