# SPDX-License-Identifier: Apache-2.0
"""The joints whose controller has left the path, and holds them by itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.measured_ahead import MeasuredAhead
from gr00t_policy_core.control.measured_state import STILL, STILL_S


class ReleasedJoints:
    """Knows which joints are not commanded at present, and where they stand still.

    Args:
        layout: Says where the joints of an action key lie in the vector of commands.
    """

    def __init__(self, layout: ActionLayout) -> None:
        self._layout = layout
        self._keys: frozenset[str] = frozenset()
        self._still: dict[int, tuple[float, int]] = {}  # where each stands, and since when, ns

    @property
    def keys(self) -> frozenset[str]:
        """The action keys of these joints."""
        return self._keys

    @property
    def reason(self) -> str:
        """Why the robot must not move; empty where every joint is commanded."""
        if not self._keys:
            return ""
        keys = ", ".join(sorted(self._keys))
        return f"the controller of {keys} has left the path, and does not stand still yet"

    def release(self, keys: Iterable[str]) -> None:
        """Command the joints of some more keys no longer."""
        self._keys |= frozenset(keys)
        self._still.clear()

    def take_back(self) -> None:
        """Command all joints again."""
        self._keys = frozenset()

    def stand_still(self, measured: MeasuredAhead) -> bool:
        """Whether none of them has moved for a while; call it at every tick.

        Only measurements that have come meanwhile tell. A joint that is never measured counts as
        one that does not move.
        """
        is_still = True
        for index, position in self._positions(measured):
            stamp_ns = measured.stamps_ns[index]
            place, since_ns = self._still.get(index, (position, stamp_ns))
            if abs(position - place) > STILL or stamp_ns < since_ns:
                place, since_ns = position, stamp_ns
            self._still[index] = place, since_ns
            is_still &= stamp_ns - since_ns >= STILL_S * 1e9
        return is_still

    def are_beside(self, command: Row, measured: MeasuredAhead) -> bool:
        """Whether a command, float64 (size,), has all of them where they are."""
        return all(abs(place - command[i]) <= STILL for i, place in self._positions(measured))

    def _positions(self, measured: MeasuredAhead) -> list[tuple[int, float]]:
        columns = [np.r_[self._layout.slices[key]] for key in self._keys]
        indices = (int(index) for part in columns for index in part)
        return [(i, measured.positions[i]) for i in indices if i in measured.positions]
