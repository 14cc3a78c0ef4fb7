# SPDX-License-Identifier: Apache-2.0
"""A player that repeats the calls to another one, a number of ticks later."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import Event, Ticked, repeat


class DelayedPlayer:
    """Stands where another player stood some ticks ago, to the bit.

    Args:
        player: A copy of the other player; only this object calls it.
    """

    def __init__(self, player: MotionPlayer) -> None:
        self._player = player
        self._events: deque[Event] = deque()
        self._ticks = 0

    @property
    def player(self) -> MotionPlayer:
        """The player, as many ticks ago as `ticks_left` says."""
        return self._player

    @property
    def ticks_left(self) -> int:
        """The number of ticks by which it is behind the other player."""
        return self._ticks

    @property
    def undone(self) -> Sequence[Event]:
        """The calls to the other player that were not repeated yet, oldest first."""
        return self._events

    def note(self, event: Event) -> None:
        """Store a call to the other player."""
        self._events.append(event)
        self._ticks += isinstance(event, Ticked)

    def begin(self) -> None:
        """Repeat the oldest calls, up to the first that gives the player something to command."""
        while self._events and not self._player.has_begun:
            self._repeat_oldest()

    def advance(self, ticks_left: int) -> None:
        """Repeat the oldest calls, until only so many ticks are left."""
        while self._ticks > ticks_left:
            self._repeat_oldest()

    def _repeat_oldest(self) -> None:
        event = self._events.popleft()
        repeat(event, self._player)
        self._ticks -= isinstance(event, Ticked)
