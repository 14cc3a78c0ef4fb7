# SPDX-License-Identifier: Apache-2.0
"""What is added to a chunk at a blend, and taken away again little by little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.active_chunk import RampLimits
from gr00t_policy_core.control.chunk import Row

# Largest second derivatives of the two curves of `OffsetBlend.at`, for an offset and a rate of 1
# over 1 s.
_BEND_OF_OFFSET, _BEND_OF_RATE = 5.78, 3.94
MAX_STRETCH = 2.0  # a gentle fade lasts so many times as long at most: it carries the old speed on


@dataclass(frozen=True, slots=True)
class OffsetBlend:
    """An offset and its rate of change per s at an instant, brought to zero within a time.

    Along the polynomial of degree 5 that starts with them and without acceleration, and ends with
    all three at zero (Flash & Hogan 1985 for the offset alone).

    Args:
        since_ns: When it begins, ns.
        lasts_s: How long it lasts, s; > 0.
        offset: As `Layout.offset` has it, float64 (size,).
        rate: The same per s.
    """

    since_ns: int
    lasts_s: float
    offset: Row
    rate: Row

    @property
    def end_ns(self) -> int:
        """From when on nothing is left of it, ns."""
        return self.since_ns + round(self.lasts_s * 1e9)

    def at(self, now_ns: float) -> Row | None:
        """What is left at an instant, or None past the end."""
        share = (now_ns - self.since_ns) * 1e-9 / self.lasts_s
        if share >= 1.0:
            return None
        share = max(share, 0.0)
        left = (1.0 - share) ** 3
        kept = left * (1.0 + (3.0 + 6.0 * share) * share)
        travelled = left * (1.0 + 3.0 * share) * share * self.lasts_s
        return kept * self.offset + travelled * self.rate


def plan_offset_blend(
    since_ns: int, offset: Row, rate: Row, *, blend_s: float, ramp_limits: RampLimits
) -> OffsetBlend:
    """The fade of an offset and its rate: over `blend_s`, or longer where that would be rough.

    Args:
        since_ns: When it begins, ns.
        offset, rate: What is faded, float64 (size,), and per s.
        blend_s: How long it lasts, s; `MAX_STRETCH` times as long at most.
        ramp_limits: How much acceleration it may add.
    """
    half = 0.5 * _BEND_OF_RATE * np.abs(rate) / ramp_limits.acceleration
    square = _BEND_OF_OFFSET * np.abs(offset) / ramp_limits.acceleration
    gentle_s = float(np.max(half + np.sqrt(half * half + square)))
    return OffsetBlend(since_ns, min(max(blend_s, gentle_s), MAX_STRETCH * blend_s), offset, rate)
