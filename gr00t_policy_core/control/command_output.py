# SPDX-License-Identifier: Apache-2.0
"""The commands since a place, and the limits that the next one is kept to."""

from __future__ import annotations

from collections import Counter

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.blend import SLOPE_NS, HandoverState
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.command import JointReport, joint_reports
from gr00t_policy_core.control.command_limiter import CommandLimiter, PathByTick
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.player_settings import PlayerSettings


class CommandOutput:
    """Makes one command a tick, inside the limits, from where the last one was.

    The output begins at rest.

    Args:
        layout: Says where the joints and bodies lie in the vector of commands.
        settings: The limits of joints and bodies, and the time between two commands.
        start: Where it begins, float64 (size,).
        limit_hits: Counts the ticks in which a limit changed a command, by the limit's name.
    """

    def __init__(
        self,
        layout: ActionLayout,
        settings: PlayerSettings,
        *,
        start: Row,
        limit_hits: Counter[str],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._limiter = CommandLimiter(
            layout,
            settings.limits,
            settings.bodies,
            period_s=settings.period_s,
            start=start,
            limit_hits=limit_hits,
            workspaces=settings.workspaces,
            body_workspaces=settings.body_workspaces,
        )
        self._last = self._before = self._target = start
        self._commanded_ns = 0

    @property
    def last(self) -> Row:
        """The last command, float64 (size,); where it begins before the first."""
        return self._last

    @property
    def target(self) -> Row:
        """What the last command was going to, within the ranges of the joints, float64 (size,)."""
        return self._limiter.within_range(self._target)

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands stand still."""
        return self._limiter.is_at_rest

    @property
    def is_at_target(self) -> bool:
        """Whether the last command was the target itself, as far as the ranges allow it."""
        return self._limiter.is_following

    @property
    def why_braked(self) -> str:
        """The side of a workspace for which the last command braked; empty where it did not."""
        return self._limiter.why_braked

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        return self._limiter.braking_s

    def begin(self, path: PathByTick, now_ns: int) -> Row:
        """The first command, at the place where it begins.

        Args:
            path: Where the commands go from there; ``path(0)`` belongs to this tick.
            now_ns: Playback time of the tick, ns.
        """
        return self._commit(self._last, path(0), now_ns)

    def follow(self, path: PathByTick, now_ns: int) -> Row:
        """The command of this tick towards a path; arguments as for `begin`."""
        return self._commit(self._limiter.follow(path), path(0), now_ns)

    def settle(self, target: Row, now_ns: int) -> Row:
        """The command of this tick towards a place inside the ranges, float64 (size,)."""
        return self._commit(self._limiter.follow(lambda _: target), target, now_ns)

    def brake(self, target: Row, now_ns: int) -> Row:
        """The command of this tick on the fastest way to rest.

        Args:
            target: Where the path is; commanded of the values without limits, float64 (size,).
            now_ns: Playback time of the tick, ns.
        """
        return self._commit(self._limiter.brake(target), target, now_ns)

    def yield_to(self, target: Row, now_ns: int) -> Row:
        """The command of this tick towards a place that may be outside the ranges, (size,)."""
        return self._commit(self._limiter.yield_to(target), target, now_ns)

    def carry(self, command: Row, now_ns: int) -> Row:
        """A command that was computed elsewhere, float64 (size,); the limits are not asked."""
        return self._commit(command, command, now_ns)

    def handover(self, path: HandoverState, now_ns: int) -> HandoverState:
        """Where the commands are and go: beside the path where a limit or a stop holds them.

        Args:
            path: Where the path is and goes.
            now_ns: Playback time at which the chunk takes over, ns.
        """
        since_s = (now_ns - self._commanded_ns) * 1e-9
        return HandoverState(
            self._limiter.extrapolate(path.now, since_s),
            self._limiter.extrapolate(path.soon, since_s + SLOPE_NS * 1e-9),
        )

    def report(self, measured: Row) -> list[JointReport]:
        """Report every commanded value at the last tick.

        Args:
            measured: Where the values were measured, float64 (size,); NaN where they were not.
        """
        bound_by = self._limiter.bound_by()
        return joint_reports(self._layout, self._target, self._last, measured, bound_by)

    def fallback_brake(self, path: tuple[Row, Row] | None = None) -> FallbackBrake:
        """A way to rest from the last command on that needs nothing of this object.

        Args:
            path: Other commands than the last two, the older one first, float64 (size,) each.
        """
        before, last = path or (self._before, self._last)
        return FallbackBrake(
            self._layout,
            self._settings.limits,
            self._settings.bodies,
            period_s=self._settings.period_s,
            last=last,
            before=before,
        )

    def _commit(self, command: Row, target: Row, now_ns: int) -> Row:
        self._target = target
        self._before, self._last = self._last, command
        self._commanded_ns = now_ns
        return command
