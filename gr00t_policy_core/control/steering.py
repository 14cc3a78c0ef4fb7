# SPDX-License-Identifier: Apache-2.0
"""The path of a robot that a person steers with a teleoperation device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import (
    SLOPE_NS,
    HandoverState,
    OffsetBlend,
    plan_offset_blend,
)
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.chunk_checks import (
    MAX_COMMAND,
    describe_jumps,
    describe_out_of_range,
)
from gr00t_policy_core.control.player_settings import PlayerSettings

# The path takes this long to the newest target at most, s: a device that commands less often than
# at 10 Hz moves the robot from target to target with a rest in between.
MAX_APPROACH_S = 0.1


class SteeringRefusedError(ValueError):
    """A person's command that must not move the robot; the message says why."""


@dataclass(frozen=True, slots=True)
class Steering:
    """The path through the targets that a person commands, one after the other.

    From each new target on, the path goes straight from where it is to that target, within the time
    that passed since the target before, and stays there: commands that follow it inside the limits
    never go beyond what the person has commanded, and stay behind by as much as they need to brake.
    Where the commands were and how fast they
    went when the person took over is blended out as between two chunks.

    Args:
        layout: Says which values are rotations.
        origin: Where the path was when the newest target came, float64 (size,).
        target: The newest target, float64 (size,).
        since_ns: When it came, playback time, ns.
        approach_s: How long the path takes to it, s; > 0.
        blend: What is left of the motion before; None where there was none.
    """

    layout: ActionLayout
    origin: Row
    target: Row
    since_ns: int
    approach_s: float
    blend: OffsetBlend | None

    @classmethod
    def begin(
        cls,
        layout: ActionLayout,
        settings: PlayerSettings,
        *,
        target: Row,
        handover: HandoverState,
        now_ns: int,
    ) -> Steering:
        """Begin with a person's first target.

        Args:
            layout: Says which values are rotations.
            settings: How long a blend takes, and how rough it may be.
            target: Where the person wants the robot, float64 (size,).
            handover: Where the commands are and go.
            now_ns: Playback time, ns.
        """
        blend, blend_s = None, settings.schedule.blend_s
        if blend_s:
            offset = layout.offset(handover.now, target)
            soon = layout.offset(handover.soon, target, near=offset)
            rate = (soon - offset) / (SLOPE_NS * 1e-9)
            limits = settings.ramp_limits(layout)
            blend = plan_offset_blend(now_ns, offset, rate, blend_s=blend_s, ramp_limits=limits)
        return cls(layout, target, target, now_ns, settings.period_s, blend)

    def toward(self, target: Row, now_ns: int) -> Steering:
        """The path from now on, to the next target, float64 (size,)."""
        approach_s = min((now_ns - self.since_ns) * 1e-9, MAX_APPROACH_S)
        return replace(
            self,
            origin=self._unblended(now_ns),
            target=target,
            since_ns=now_ns,
            approach_s=max(approach_s, SLOPE_NS * 1e-9),
        )

    def silent_s(self, now_ns: int) -> float:
        """How long ago the newest target came, s."""
        return (now_ns - self.since_ns) * 1e-9

    def at(self, now_ns: int) -> Row:
        """Where the robot should be at an instant, float64 (size,)."""
        place = self._unblended(now_ns)
        offset = self.blend.at(now_ns) if self.blend is not None else None
        return place if offset is None else self.layout.with_offset(place, offset)

    def path_by_ticks(self, now_ns: int, period_ns: int) -> Callable[[int], Row]:
        """The path by ticks from an instant; each value is computed once."""
        return cache(lambda ticks: self.at(now_ns + ticks * period_ns))

    def _unblended(self, now_ns: int) -> Row:
        share = self.silent_s(now_ns) / self.approach_s
        if share >= 1.0:
            return self.target.copy()
        return self.layout.interpolate(self.origin, self.target, max(share, 0.0))


def require_steerable(
    layout: ActionLayout, settings: PlayerSettings, *, target: Row, origin: Row
) -> None:
    """Require that a person's target is near enough to go there at once.

    Args:
        layout: Names the joints and poses.
        settings: Name the limited joints, and `max_jump`.
        target: Where the person wants the robot, float64 (size,).
        origin: Where the robot is, or their target before, float64 (size,).

    Raises:
        SteeringRefusedError: A value is not finite or beyond what any robot can do, or further than
            `max_jump` away; the text names it.
    """
    is_absurd = ~(np.abs(target) <= MAX_COMMAND)
    if is_absurd.any():
        index = int(np.argmax(is_absurd))
        raise SteeringRefusedError(
            f"{layout.name_of(index)} is commanded to {target[index]:g}, no robot goes beyond "
            f"{MAX_COMMAND:g} rad or m"
        )
    limit = settings.max_jump
    for jump in describe_jumps(layout, settings.limits, target, origin, limit):
        raise SteeringRefusedError(
            f"{jump}; max_jump is {limit:g}: bring the teleoperation device closer to the robot"
        )


def require_in_range(layout: ActionLayout, settings: PlayerSettings, start: Row) -> None:
    """Require that nothing is outside its range where a person begins to steer.

    Their later targets need no such check: the limits keep the commands inside.

    Args:
        layout: Names the joints.
        settings: Name the ranges and workspaces, and say whether the robot may return by itself.
        start: Where the robot is, float64 (size,).

    Raises:
        SteeringRefusedError: A joint is outside its range, or a tip or a pose outside its
            workspace; the text names it.
    """
    for outside in describe_out_of_range(layout, settings, start):
        raise SteeringRefusedError(outside)
