# SPDX-License-Identifier: Apache-2.0
"""The settings of a player's schedule."""

from __future__ import annotations

from dataclasses import dataclass

from gr00t_policy_core.control.blend import BlendMode


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How chunks are played.

    Args:
        blend: The transition from one chunk to the next.
        blend_s: How long an offset is faded out for, s; longer where that would be rough.
        cubic: Between steps along cubics (Catmull-Rom) instead of straight lines.
        ensemble_decay: ACT's m: the i-th oldest chunk weighs ``exp(-m * i)``.
    """

    blend: BlendMode = BlendMode.OFFSET_FADE
    blend_s: float = 0.3
    cubic: bool = False
    ensemble_decay: float = 0.01
