# SPDX-License-Identifier: Apache-2.0
"""An action chunk as the player takes it: checked whole, before any of it moves a robot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]
"""One step of a chunk or one command, float64 (size,); also several of them, (n, size)."""

# Steps outside this are no policy's; summed up they leave what integers of ns can hold.
MIN_STEP_S, MAX_STEP_S = 1e-6, 60.0
# Differences of larger values, divided by a time or squared, leave what float64 can hold.
MAX_VALUE = 1e100


class ChunkRefusedError(ValueError):
    """A chunk that must not move the robot; the message says why."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One answer of a policy, ready to be played.

    Args:
        chunk_id: Tells chunks apart in logs and status.
        t0_ns: Stamp of the observation that it was computed from, ns.
        dt_s: Time between two steps, s.
        actions: float64 arrays (horizon, D) by action key, all of one horizon; SI units, rad.

    Raises:
        ChunkRefusedError: Wrong shapes, a step that is no sensible time, or a value that is not
            finite or beyond `MAX_VALUE`: the whole chunk is refused, naming the key and the step.
    """

    chunk_id: int
    t0_ns: int
    dt_s: float
    actions: Mapping[str, Row]

    def __post_init__(self) -> None:
        if not self.actions:
            raise ChunkRefusedError(f"chunk {self.chunk_id} has no action")
        if not MIN_STEP_S <= self.dt_s <= MAX_STEP_S:
            raise ChunkRefusedError(
                f"chunk {self.chunk_id}: dt must be {MIN_STEP_S:g} to {MAX_STEP_S:g} s, "
                f"got {self.dt_s}"
            )
        for key, values in self.actions.items():
            self._require_numbers(key, values)
        horizons = {key: len(values) for key, values in self.actions.items()}
        if len(set(horizons.values())) > 1:
            raise ChunkRefusedError(f"chunk {self.chunk_id}: horizons differ: {horizons}")

    def _require_numbers(self, key: str, values: Row) -> None:
        if values.ndim != 2 or 0 in values.shape:
            raise ChunkRefusedError(
                f"chunk {self.chunk_id}, {key}: expected (horizon, D), got {values.shape}"
            )
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ChunkRefusedError(
                f"chunk {self.chunk_id}, {key}: a value of step {step} is not finite"
            )
        is_huge = np.abs(values) > MAX_VALUE
        if is_huge.any():
            step, place = np.argwhere(is_huge)[0].tolist()
            raise ChunkRefusedError(
                f"chunk {self.chunk_id}, {key}: a value of step {step} is "
                f"{values[step, place]:.4g}, the largest is {MAX_VALUE:g}"
            )

    @property
    def horizon(self) -> int:
        """Number of steps."""
        return len(next(iter(self.actions.values())))

    @property
    def end_ns(self) -> int:
        """The instant of the last step, ns."""
        return self.t0_ns + round((self.horizon - 1) * self.dt_s * 1e9)
