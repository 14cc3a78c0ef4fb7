# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: the rest of the current chunk goes to the policy with the observation.

A policy with the capability ``rtc`` makes its next chunk continue that rest, as described in
"Real-Time Execution of Action Chunking Flow Policies" (Black, Galliker, Levine, 2025). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAPABILITY = "rtc"
RAMP_RATE = 6.0  # rate of the exponential decay from the frozen steps to the free ones

Actions = Mapping[str, NDArray[np.float32]]


class Continuation:
    """Remembers the newest chunk and builds ``options["rtc"]`` from the rest of it.

    Args:
        step_s: Time between two steps of a chunk, s.
    """

    def __init__(self, *, step_s: float) -> None:
        self._step_ns = step_s * 1e9
        self._actions: Actions = {}
        self._start_ns = 0
        self._end_ns = 0

    def remember(self, actions: Actions, t0_ns: int, *, now_ns: int | None = None) -> None:
        """Remember the chunk that the control node plays from now on.

        Args:
            actions: float32 (1, horizon, D) by key, in the policy's units.
            t0_ns: Stamp of its observation, ns.
            now_ns: The current time, ns: a chunk does not advance while the robot stands still,
                as in `ChunkSchedule`. None if no chunk waits.
        """
        held_ns = 0 if now_ns is None else max(0, now_ns - max(t0_ns, self._end_ns))
        horizon = min(steps.shape[1] for steps in actions.values())
        self._start_ns = t0_ns + held_ns
        self._end_ns = self._start_ns + round((horizon - 1) * self._step_ns)
        self._actions = dict(actions)

    def forget(self, now_ns: int = 0) -> None:
        """Forget the chunk, because the robot was stopped at the time `now_ns`, ns."""
        self._actions, self._end_ns = {}, now_ns

    def options(self, t0_ns: int, *, latency_s: float) -> dict[str, Any] | None:
        """Return the options for an observation: prefix step i belongs to step i of the next chunk.

        Args:
            t0_ns: Stamp of the observation, ns.
            latency_s: How long the answer is expected to take, s: the steps that the robot plays
                until then are frozen.

        Returns:
            ``{"rtc": {"prefix": {key: float32 (1, overlap, D)}, "frozen_steps": int,
            "ramp_rate": float}}``, or None where nothing is left.
        """
        begin = max(0, round((t0_ns - self._start_ns) / self._step_ns))
        prefix = {key: np.array(steps[:, begin:]) for key, steps in self._actions.items()}
        overlap = min((steps.shape[1] for steps in prefix.values()), default=0)
        if not overlap:
            return None
        frozen = min(overlap, math.ceil(latency_s * 1e9 / self._step_ns))
        return {
            "rtc": {"prefix": prefix, "frozen_steps": frozen, "ramp_rate": RAMP_RATE},
        }
