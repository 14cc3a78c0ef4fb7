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
        if self._inhibit_reason or self._awaits_limits:
            return self._inhibit_reason or NEW_LIMITS
        return self._measured.problem(now_ns)

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
