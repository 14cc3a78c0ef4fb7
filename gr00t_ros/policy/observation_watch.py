# SPDX-License-Identifier: Apache-2.0
"""Notices that the streams have fallen silent while a chunk is played whole. Pure.

Where chunks are asked for in turn (`inference: sync`), nothing is built while a chunk is played,
and a robot whose camera has frozen would go on until its end.
"""

from __future__ import annotations

from collections.abc import Callable

from gr00t_ros.policy.observation_builder import NotReadyError


class ObservationWatch:
    """How old the newest observation would be, were one built at present.

    Args:
        reached_ns: Returns the newest instant that every stream has reached, ns; raises
            `NotReadyError` where one is missing or stale.
        now_ns: The clock of the observation stamps, ns.
        limit_s: The robot must not move by older observations, s.
    """

    def __init__(
        self, reached_ns: Callable[[], int], now_ns: Callable[[], int], *, limit_s: float
    ) -> None:
        self._reached_ns = reached_ns
        self._now_ns = now_ns
        self._limit_s = limit_s
        self._observed_ns = now_ns()

    def begin(self, t0_ns: int) -> None:
        """An observation was built, of the time `t0_ns`, ns."""
        self._observed_ns = t0_ns

    def problem(self) -> str:
        """Why the robot must not move on; empty where an observation could be built."""
        stale = ""
        try:
            self._observed_ns = self._reached_ns()
        except NotReadyError as error:
            stale = f": {error}"
        age_s = (self._now_ns() - self._observed_ns) * 1e-9
        if age_s <= self._limit_s:
            return ""
        return f"the newest observation would be {age_s:.1f} s old{stale}"
