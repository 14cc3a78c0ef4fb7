# SPDX-License-Identifier: Apache-2.0
"""What is commanded tick by tick beside whole trajectories, such as a gripper or a base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.command_limiter import CommandLimiter
from gr00t_policy_core.control.commands_ahead import CommandsAhead
from gr00t_policy_core.control.joint_limits import LIMIT_NAMES, JointLimits
from gr00t_policy_core.control.measured_state import MOVED
from gr00t_policy_core.control.player_settings import PlayerSettings


class StreamedCommands:
    """Keeps streamed commands inside their limits where ticks are missed, or planned again.

    A controller of trajectories goes on meanwhile, and so does the path. What is streamed has
    stayed where it was: it catches up. After a time in which nothing was commanded the commands
    begin again at the last one, unless somebody has moved the robot since. Otherwise they are those
    of the path, to the bit.

    Args:
        layout: Layout of the commands.
        keys: The action keys that are streamed.
        period_s: Time between two ticks, s.
        is_silent: As `PlayerSettings.silent_at_rest`: the first command after a rest may be
            anywhere.
    """

    def __init__(
        self, layout: ActionLayout, keys: Iterable[str], *, period_s: float, is_silent: bool
    ) -> None:
        self._layout = layout
        self._keys = frozenset(keys)
        self._period_s = period_s
        self._is_silent = is_silent
        self._limiter: CommandLimiter | None = None  # from the first command on
        self._limits: Mapping[int, JointLimits] = {}  # of the limiter
        self._last: Command | None = None
        self._newest: tuple[Row, Row] | None = None
        self._told: Row | None = None  # the last command that went out

    @property
    def is_at_rest(self) -> bool:
        """Whether what was streamed stands still."""
        return self._limiter is None or self._limiter.is_at_rest

    @property
    def keys(self) -> frozenset[str]:
        """The action keys that are streamed."""
        return self._keys

    @property
    def newest(self) -> tuple[Row, Row] | None:
        """The command before the last one and the last, float64 (size,); None before the first."""
        return self._newest

    def begin(self) -> None:
        """Begin where the next motion does, unless what is streamed is being commanded."""
        if self._last is None:
            self._limiter = None

    def follow(
        self, ahead: CommandsAhead, settings: PlayerSettings, measured: Mapping[int, float]
    ) -> Command | None:
        """The command of the present, its streamed values within reach of those before.

        Args:
            ahead: The commands from the present on.
            settings: The limits in force.
            measured: The newest position of each joint and pose, by their index, rad (or m).
        """
        command = self._follow(ahead, settings, measured)
        self._last = command
        if command is not None and self._keys:
            vector = command.vector
            self._newest = vector if self._newest is None else self._newest[1], vector
            if not command.is_withheld:
                self._told = vector
        return command

    def _follow(
        self, ahead: CommandsAhead, settings: PlayerSettings, measured: Mapping[int, float]
    ) -> Command | None:
        present, limiter, last = ahead.present, self._limiter, self._last
        if not self._keys:
            return present
        if present is None or present.is_withheld:
            if limiter is not None and last is not None and not limiter.is_at_rest:
                return self._brake(limiter, last)
            if present is not None:
                self._limiter = None
            return present
        if self._is_silent and present.at_rest and self.is_at_rest:
            self._limiter = None
            return present
        if limiter is None or (limiter.is_at_rest and present.at_rest):
            limiter = self._begin_within(settings, present, measured)
        vector = limiter.follow(ahead.path)
        if np.array_equal(vector, present.vector):
            return present
        values = self._layout.split(vector)
        return replace(present, values=values, at_rest=present.at_rest and limiter.is_at_rest)

    def _brake(self, limiter: CommandLimiter, last: Command) -> Command:
        """The next command on the way to rest, where the path that it followed was undone."""
        vector = last.vector
        vector[self._layout.is_velocity] = 0.0
        values = self._layout.split(limiter.brake(vector))
        at_rest = limiter.is_at_rest
        return Command.holds(values, last.targets, last.chunk_id, at_rest=at_rest)

    def _begin_within(
        self, settings: PlayerSettings, present: Command, measured: Mapping[int, float]
    ) -> CommandLimiter:
        """Go on within the limits in force, from the last command or the first one."""
        limiter = self._limiter
        if limiter is None or self._limits != settings.limits:
            self._limits = settings.limits
            parts = [self._layout.slices[key] for key in self._keys]
            indices = {index for part in parts for index in range(part.start, part.stop)}
            limiter = self._limiter = CommandLimiter(
                self._layout,
                {index: one for index, one in settings.limits.items() if index in indices},
                {key: body for key, body in settings.bodies.items() if key in self._keys},
                period_s=self._period_s,
                start=self._start(present.vector, measured),
                limit_hits=Counter(dict.fromkeys(LIMIT_NAMES, 0)),
                workspaces=[one for one in settings.workspaces if indices.issuperset(one.indices)],
                body_workspaces=[one for one in settings.body_workspaces if one.key in self._keys],
            )
        return limiter

    def _start(self, path: Row, measured: Mapping[int, float]) -> Row:
        """Where the commands begin, or begin again, float64 (size,).

        Args:
            path: Where the path is at present, float64 (size,).
            measured: As for `follow`.
        """
        told = self._told
        if told is None or self._is_silent:
            return path
        here = np.array(told)
        here[list(measured)] = list(measured.values())
        from_told = np.abs(self._layout.offset(here, told))
        from_path = np.abs(self._layout.offset(here, path))
        start = np.array(path)
        for key in self._keys:
            part = self._layout.slices[key]
            was_moved = from_told[part].max() > MOVED
            if not was_moved or from_path[part].max() > from_told[part].max():
                start[part] = told[part]
        return start
