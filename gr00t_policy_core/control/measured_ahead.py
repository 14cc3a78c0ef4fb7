# SPDX-License-Identifier: Apache-2.0
"""What was measured last, for a player that is ahead of the measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.sent_path import SentPath


class MeasuredAhead:
    """The newest position of each value, and where it would be beside the command ahead.

    Positions are those of joints and of whole poses, by their index in the layout, rad (or m).

    Args:
        layout: The layout of the commands.
        path: Where the robot was sent.
    """

    def __init__(self, layout: ActionLayout, path: SentPath) -> None:
        self._layout = layout
        self._path = path
        self._positions: dict[int, float] = {}
        self._stamps_ns: dict[int, int] = {}

    @property
    def positions(self) -> Mapping[int, float]:
        """The newest position of each value that was measured."""
        return self._positions

    @property
    def stamps_ns(self) -> Mapping[int, int]:
        """When each of them was measured, ns."""
        return self._stamps_ns

    def keep(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Keep what was measured at an instant, ns."""
        self._stamps_ns.update(dict.fromkeys(positions, stamp_ns))
        self._positions.update(positions)

    def by_stamp(self) -> Iterator[tuple[dict[int, float], int]]:
        """Yield what was measured together, and when, ns."""
        for stamp_ns in set(self._stamps_ns.values()):
            yield (
                {i: self._positions[i] for i, s in self._stamps_ns.items() if s == stamp_ns},
                stamp_ns,
            )

    def moved(
        self, positions: Mapping[int, float], stamp_ns: int, known: Sequence[Command]
    ) -> Mapping[int, float]:
        """Positions as far beside the newest command as beside that of their time.

        A joint whose controller has left the path counts as where it is commanded: where it is
        says nothing about a robot that follows, and must not keep the others from their way.

        Args:
            positions: What was measured.
            stamp_ns: When, ns.
            known: The commands from the present to the newest.
        """
        if not known:
            return positions
        released = self._path.is_released
        newest = known[-1].vector
        moved = self._beside(positions, stamp_ns, known)
        return {i: float(newest[i]) if released[i] else place for i, place in moved.items()}

    def _beside(
        self, positions: Mapping[int, float], stamp_ns: int, known: Sequence[Command]
    ) -> Mapping[int, float]:
        if known[-1].is_withheld:
            return positions
        # While the way to a rest is not sent, the robot goes on by the trajectory before.
        if known[0].at_rest and known[-1].at_rest and self._path.is_current:
            return positions
        sent = self._path.row_at(stamp_ns)
        expected = known[0].vector if sent is None else np.array(sent)
        measured, indices = expected.copy(), list(positions)
        measured[indices] = list(positions.values())
        beside = self._layout.offset(measured, expected)
        moved = self._layout.with_offset(known[-1].vector, beside)
        return dict(zip(indices, moved[indices].tolist(), strict=True))
