# SPDX-License-Identifier: Apache-2.0
"""Puts together in time what the control node did. Pure."""

from __future__ import annotations

from gr00t_ros.diagnose.run import Activity, Phase


class PhaseLog:
    """Joins observations of one activity and reason to phases; each lasts until the next."""

    def __init__(self) -> None:
        self._phases: list[Phase] = []
        self._current: tuple[float, Activity, str] | None = None
        self._seen_s = 0.0

    def observe(self, time_s: float, activity: Activity, reason: str) -> None:
        """Note what the node does at an instant; instants come in order."""
        self._seen_s = max(self._seen_s, time_s)
        current = self._current
        if current is None:
            self._current = (time_s, activity, reason)
        elif (activity, reason) != current[1:]:
            self._end(time_s)
            self._current = (time_s, activity, reason)

    def phases(self) -> tuple[Phase, ...]:
        """All phases, up to the last instant."""
        self._end(self._seen_s)
        return tuple(self._phases)

    def _end(self, time_s: float) -> None:
        if self._current is not None and time_s > self._current[0]:
            begin_s, activity, reason = self._current
            self._phases.append(Phase(begin_s, time_s, activity, reason))
        self._current = None
