# SPDX-License-Identifier: Apache-2.0
"""The conditions that forbid a motion or end one in progress."""

from __future__ import annotations

import math

from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.measured_state import MeasuredState
from gr00t_policy_core.control.player_settings import ObservationAgeLimit

NEW_LIMITS = "the limits have changed: the robot comes to rest before they are in force"


def reason_after_stop(inhibited: str) -> str:
    """Why a robot holds that was stopped for a reason, once it may move again."""
    return f"no chunk came after a stop: {inhibited}"


class StopConditions:
    """All conditions of a motion besides the chunks themselves.

    Args:
        measured: Where the robot really is.
        age_limit: How old the observation behind the motion may be.
    """

    def __init__(self, measured: MeasuredState, age_limit: ObservationAgeLimit) -> None:
        self._measured = measured
        self._age_limit = age_limit
        self._inhibit_reason = ""
        self._awaits_limits = False
        self._max_age_s = math.inf
        self._measurement_problem = ""

    def inhibit(self, reason: str) -> None:
        """Forbid motion for a reason; an empty one allows it."""
        self._inhibit_reason = reason

    def await_limits(self, waits: bool) -> None:
        """Forbid motion while new limits wait for the robot to come to rest."""
        self._awaits_limits = waits

    def why_inhibited(self, now_ns: int) -> str:
        """Why the robot may not be moved now; empty where it may.

        Args:
            now_ns: The present, on the clock of the stamps, ns.
        """
        return self._why_forbidden() or self._measured.problem(now_ns)

    @property
    def measurement_problem(self) -> str:
        """What the last tick that was not missed found wrong with the measurements; else empty."""
        return self._measurement_problem

    def tick(self, now_ns: int, *, is_missed: bool) -> str:
        """Why the robot may not be moved at a tick; empty where it may.

        Args:
            now_ns: The time of the tick, on the clock of the stamps, ns.
            is_missed: Whether it is made up for: then the tick before has judged the measurements.
        """
        if not is_missed:
            self._measurement_problem = self._measured.problem(now_ns)
        return self._why_forbidden() or self._measurement_problem

    def expect(self, chunk: Chunk) -> None:
        """Set the age limit of observations by the chunk that is played."""
        self._max_age_s = self._age_limit.limit_of(chunk)

    def why_too_old(self, observed_ns: int | None, now_ns: int) -> str:
        """Why the observation behind the motion is too old; empty where it is not.

        Args:
            observed_ns: Its stamp, ns; None where no chunk is played.
            now_ns: The present, on the clock of the stamps, ns.
        """
        age_s = 0.0 if observed_ns is None else (now_ns - observed_ns) * 1e-9
        if age_s <= self._max_age_s:
            return ""
        return (
            f"the newest observation is {age_s:.2f} s old, max_observation_age_s is "
            f"{self._max_age_s:.3g}"
        )

    def _why_forbidden(self) -> str:
        return self._inhibit_reason or (NEW_LIMITS if self._awaits_limits else "")
