# SPDX-License-Identifier: Apache-2.0
"""Chunk blending: the transition from one chunk to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.ramp import RampLimits

# Largest second derivatives of the two polynomials of `OffsetBlend.at` over a share of 0 to 1:
# 10 / sqrt(3) of the offset's, and of the rate's at a share of (192 - sqrt(10944)) / 360.
_OFFSET_CURVATURE, _RATE_CURVATURE = 5.78, 3.94
MAX_STRETCH = 2.0  # largest factor by which a blend is stretched: it carries the old speed on

# The slope of a path is taken over this time, ns.
SLOPE_NS = 1_000_000


class BlendMode(Enum):
    """The transition from one chunk to the next."""

    REPLACE = "replace"
    """The newest chunk, from the instant of its arrival."""

    OFFSET_FADE = "offset_fade"
    """The newest chunk, plus the offset and speed that it differed by, faded out."""

    ENSEMBLE = "ensemble"
    """The mean of all chunks that cover the instant, as in ACT (Zhao et al., RSS 2023)."""

    RTC = "rtc"
    """The policy continues the current chunk itself (real-time chunking); the rest fades out."""

    @property
    def fades_offset(self) -> bool:
        """Whether a new chunk's offset from the present path is faded out, over `blend_s`."""
        return self in (BlendMode.OFFSET_FADE, BlendMode.RTC)


@dataclass(frozen=True, slots=True)
class HandoverState:
    """Where the commands are when a chunk takes over, and `SLOPE_NS` later; float64 (size,)."""

    now: Row
    soon: Row


@dataclass(frozen=True, slots=True)
class OffsetBlend:
    """An offset and its rate of change at an instant, brought to zero within a time.

    Along the polynomial of degree 5 that starts with them and without acceleration, and ends with
    all three at zero (Flash & Hogan 1985 for the offset alone).

    Args:
        since_ns: Playback time at which it begins, ns.
        duration_s: How long it lasts, s; > 0.
        offset: What is left at the beginning, as `ActionLayout.offset` has it, float64 (size,).
        rate: Its rate of change at the beginning, float64 (size,), per s.
    """

    since_ns: int
    duration_s: float
    offset: Row
    rate: Row

    @property
    def end_ns(self) -> int:
        """The instant from which the offset is zero, ns."""
        return self.since_ns + round(self.duration_s * 1e9)

    def delayed(self, by_ns: int) -> OffsetBlend:
        """The same, so much later, ns."""
        return replace(self, since_ns=self.since_ns + by_ns)

    def at(self, now_ns: float) -> Row | None:
        """The offset that is left at an instant, float64 (size,), or None past the end."""
        share = (now_ns - self.since_ns) * 1e-9 / self.duration_s
        if share >= 1.0:
            return None
        share = max(share, 0.0)
        left = (1.0 - share) ** 3
        of_offset = left * (1.0 + (3.0 + 6.0 * share) * share)
        of_rate = left * (1.0 + 3.0 * share) * share * self.duration_s
        return of_offset * self.offset + of_rate * self.rate


def plan_offset_blend(
    since_ns: int, offset: Row, rate: Row, *, blend_s: float, ramp_limits: RampLimits
) -> OffsetBlend:
    """Plan the blend of an offset and its rate: over `blend_s`, or longer if that would be rough.

    Over `T` it adds at most ``(5.78 |offset| / T + 3.94 |rate|) / T`` of acceleration; the
    shortest gentle `T` solves that for the limit.

    Args:
        since_ns: Playback time at which it begins, ns.
        offset, rate: What is blended out, float64 (size,), and its rate of change per s.
        blend_s: How long it lasts, s; `MAX_STRETCH` times as long at most.
        ramp_limits: How much acceleration it may add; their jerk is not used.
    """
    half = 0.5 * _RATE_CURVATURE * np.abs(rate) / ramp_limits.acceleration
    square = _OFFSET_CURVATURE * np.abs(offset) / ramp_limits.acceleration
    gentle_s = float(np.max(half + np.sqrt(half * half + square)))
    duration_s = min(max(blend_s, gentle_s), MAX_STRETCH * blend_s)
    return OffsetBlend(since_ns, duration_s, offset, rate)
