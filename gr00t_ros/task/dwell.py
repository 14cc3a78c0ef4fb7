# SPDX-License-Identifier: Apache-2.0
"""Conditions that have to hold for a time, and the bounds of a number. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


class Dwell:
    """How long a condition has held, from the first message that says so to the newest.

    A source that falls silent lets no time pass: silence does not end a task.

    Args:
        for_s: The time that the condition has to hold, s; 0 for one message.
    """

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._since_s: float | None = None
        self._newest_s = 0.0

    def update(self, holds: bool, at_s: float) -> None:
        """Take what a message says.

        Args:
            holds: Whether the condition holds.
            at_s: When the message came, s.
        """
        self._newest_s = at_s
        if not holds:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = at_s

    @property
    def progress(self) -> float:
        """0 while the condition does not hold, up to 1 once it has held for long enough."""
        if self._since_s is None:
            return 0.0
        held_s = self._newest_s - self._since_s
        return 1.0 if held_s >= self._for_s else max(held_s / self._for_s, 0.0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers between two bounds, neither of which is included.

    Raises:
        ValueError: There is no bound, or no number between them.
    """

    above: float
    below: float

    def __post_init__(self) -> None:
        if self.above == -math.inf and self.below == math.inf:
            raise ValueError("give `above`, `below` or both")
        if not self.above < self.below:
            raise ValueError(f"`above` {self.above:g} must be less than `below` {self.below:g}")

    def __contains__(self, value: float) -> bool:
        return self.above < value < self.below

    def __str__(self) -> str:
        low = "" if self.above == -math.inf else f"above {self.above:g}"
        high = "" if self.below == math.inf else f"below {self.below:g}"
        return " and ".join(filter(None, (low, high)))
