# SPDX-License-Identifier: Apache-2.0
"""The commands that a player has made ahead of the present, and how far ahead it makes them."""

from __future__ import annotations

import math
from collections import deque

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.command import Command

# The lead follows the time that trajectories take up to this, s, or to the one that is set where
# that is longer. A judgement: a chunk of 0.8 s is still worth playing half a second later.
MAX_LEAD_S = 0.5
# The lead that a late trajectory asks for is made longer by this share, because the next one takes
# another time. A judgement.
LEAD_SHARE = 1.2
# A lead that was made longer loses one tick in this time, s. A judgement: 0.1 s at 100 Hz are given
# back within ten seconds, and a machine that stays busy is late once in a few.
SHORTEN_S = 1.0


class CommandsAhead:
    """The commands from the present tick to the newest one, which is one lead after the present.

    The lead is longer than the one that is set while the machine takes longer to plan trajectories.

    Args:
        period_s: Time between two ticks, s.
        lead_s: The shortest lead, s; rounded up to whole ticks.
        silent_at_rest: As in `PlayerSettings`: what was commanded at rest did not go out.
    """

    def __init__(self, *, period_s: float, lead_s: float, silent_at_rest: bool) -> None:
        self._silent_at_rest = silent_at_rest
        self._shortest = max(1, math.ceil(lead_s / period_s - 1e-9))
        self._longest = max(self._shortest, round(MAX_LEAD_S / period_s))
        self._shorten_ticks = round(SHORTEN_S / period_s)
        self._ticks_since = 0  # since the lead has changed
        self._lead_ticks = self._shortest
        # None where there was no command yet.
        self._commands: deque[Command | None] = deque([None] * self._lead_ticks)

    @property
    def lead_ticks(self) -> int:
        """How far the newest command is ahead of the present, ticks."""
        return self._lead_ticks

    @property
    def present(self) -> Command | None:
        """The command of the present."""
        return self._commands[0]

    @property
    def known(self) -> list[Command]:
        """The commands that go out or went out, from the present to the newest.

        Of those that are silent at rest, the newest motion with the rest after it.
        """
        known = [command for command in self._commands if command is not None]
        if not self._silent_at_rest:
            return known
        moving = [i for i, command in enumerate(known) if not command.at_rest]
        if not moving:
            return known[-1:]
        rests = (i for i in range(moving[-1], -1, -1) if known[i].at_rest)
        return known[next(rests, -1) + 1 :]

    @property
    def is_at_rest(self) -> bool:
        """Whether the robot rests, and no command that goes out makes it move."""
        return all(command.at_rest for command in self.known)

    def path(self, ticks: int) -> Row:
        """What is commanded so many ticks after the present, float64 (size,); at most a lead later.

        Raises:
            RuntimeError: Nothing is commanded yet.
        """
        command = self._commands[min(ticks, len(self._commands) - 1)]
        if command is None:
            raise RuntimeError("nothing is commanded yet")
        return command.vector

    def append(self, command: Command | None) -> None:
        """Add the command of one more tick."""
        self._commands.append(command)
        self._pass_to_present()

    def drop(self, ticks: int) -> None:
        """Drop the newest commands, of so many ticks: they are made anew."""
        for _ in range(min(ticks, len(self._commands))):
            self._commands.pop()

    def lengthen(self, needed_ticks: int) -> None:
        """Have a longer lead from now on, where trajectories take so many ticks."""
        wanted = min(self._longest, math.ceil(LEAD_SHARE * needed_ticks))
        if wanted > self._lead_ticks:
            self._lead_ticks, self._ticks_since = wanted, 0

    def pass_tick(self) -> None:
        """Let a tick pass: from time to time a lead that was made longer loses one."""
        self._ticks_since += 1
        if self._lead_ticks > self._shortest and self._ticks_since >= self._shorten_ticks:
            self._lead_ticks, self._ticks_since = self._lead_ticks - 1, 0
            self._pass_to_present()

    def _pass_to_present(self) -> None:
        while len(self._commands) > self._lead_ticks + 1:
            self._commands.popleft()
