# SPDX-License-Identifier: Apache-2.0
"""What is probably wrong with numbers that make no sense: units and rates. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from gr00t_policy_core.control.chunk import Chunk
from gr00t_ros.control.motion_setup import LimitsInForce

RAD_PER_DEG = math.pi / 180.0
# A joint without a range turns once either way; beyond several turns its unit is doubted.
TURN_RAD = 2.0 * math.pi
DOUBTED_RANGE = 3.0  # so many times the range are no place for the joint
DOUBTED_SPEED = 1.5  # and so many times the largest velocity no speed


def unit_hint(chunk: Chunk, limits: Iterable[LimitsInForce]) -> str:
    """A question about the first joint whose values look like degrees, or whose steps like a wrong
    rate; empty where none do.

    Args:
        chunk: The chunk, in rad (or m).
        limits: The limits in force of its joints.
    """
    for joint in limits:
        values = chunk.actions[joint.key][:, joint.number]
        hint = _degrees_hint(values, joint) or _rate_hint(values, chunk.dt_s, joint)
        if hint:
            return hint
    return ""


def _degrees_hint(values: np.ndarray, joint: LimitsInForce) -> str:
    largest = float(np.abs(values).max())
    range_rad = max(abs(joint.limits.lower), abs(joint.limits.upper))
    if math.isinf(range_rad):
        range_rad = TURN_RAD
    if largest <= DOUBTED_RANGE * range_rad or largest * RAD_PER_DEG > range_rad:
        return ""
    return (
        f"the chunk asks {largest:.3g} rad of {joint.joint}, whose range is ±{range_rad:.2g}: "
        f"degrees? then action.{joint.key}.scale is {RAD_PER_DEG:.6f}"
    )


def _rate_hint(values: np.ndarray, dt_s: float, joint: LimitsInForce) -> str:
    if len(values) < 2:
        return ""
    speed = float(np.abs(np.diff(values)).max()) / dt_s
    if speed <= DOUBTED_SPEED * joint.limits.velocity:
        return ""
    return (
        f"the chunk moves {joint.joint} at {speed:.3g} rad/s, max_velocity is "
        f"{joint.limits.velocity:g}: is action_rate_hz ({1.0 / dt_s:.3g}) the rate of the "
        "training data?"
    )
