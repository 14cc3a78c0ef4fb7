# SPDX-License-Identifier: Apache-2.0
"""Which ticks of a player that is ahead of the present, and which calls to it, its robot knows."""

from __future__ import annotations

from collections.abc import Sequence

from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.recording import Event, Offered, Steered


class SentTicks:
    """Counts the ticks of a player, and those whose commands were sent."""

    def __init__(self) -> None:
        self._ticks = 0  # of the player
        self._sent: int | None = None  # how many of them were sent, where not all were
        self._told: int | None = None  # how many there were at a first call since a forecast
        self._unsent_chunk: Chunk | None = None
        self._has_undone_sent = False

    @property
    def unsent(self) -> int:
        """The number of ticks that were not sent."""
        return 0 if self._sent is None else self._ticks - self._sent

    @property
    def unsent_chunk(self) -> Chunk | None:
        """The newest chunk, while no trajectory of it was sent."""
        return self._unsent_chunk

    @property
    def has_undone_sent(self) -> bool:
        """Whether the newest way back has undone a call that was sent, and nothing was sent since.

        Then the player does not know the path that the robot is about to go.
        """
        return self._has_undone_sent

    @property
    def is_told(self) -> bool:
        """Whether the player was called since its newest tick: no command shows it yet."""
        return self._told == self._ticks

    @property
    def has_new_chunk(self) -> bool:
        """Whether a chunk has come since the newest forecast began."""
        return self._told is not None and self._unsent_chunk is not None

    def tick(self) -> None:
        """The player has ticked."""
        self._ticks += 1

    def note(self, event: Event) -> None:
        """The player was called.

        What was sent ends before it, even if the next commands are still the same.
        """
        if isinstance(event, Offered | Steered):
            self._unsent_chunk = event.chunk if isinstance(event, Offered) else None
        if self._told is None:
            self._told = self._ticks
        if self._sent is None:
            self._sent = self._ticks

    def depart(self) -> None:
        """The newest tick is no longer on the path that was sent."""
        if self._sent is None:
            self._sent = self._ticks - 1

    def undo(self, ticks: int, events: Sequence[Event]) -> None:
        """The player has gone back behind its newest ticks and the calls between them."""
        self._has_undone_sent |= any(self._was_sent(event) for event in events)
        self._ticks -= ticks
        self._sent = self._told = self._unsent_chunk = None

    def assume_same(self) -> None:
        """The calls since what was sent have changed no command."""
        self._sent = None

    def begin_forecast(self) -> None:
        """Distinguish what the forecast knows from what the player is told from now on."""
        self._told = None

    def finish_forecast(self, same: int, known: int) -> None:
        """A trajectory was sent.

        Args:
            same: How many of the known commands are those of the trajectory.
            known: The number of the newest commands that are known.
        """
        departed = None if same == known else self._ticks - known + same
        self._sent = min((n for n in (departed, self._told) if n is not None), default=None)
        self._has_undone_sent = False

    def finish_chunk(self) -> None:
        """The newest chunk was sent."""
        self._unsent_chunk = None

    def finish_brake(self) -> None:
        """The way to rest was sent, which the player brakes on."""
        self._sent = self._told = None
        self._has_undone_sent = False

    def _was_sent(self, event: Event) -> bool:
        if isinstance(event, Offered):
            return event.chunk is not self._unsent_chunk
        return isinstance(event, Steered)
