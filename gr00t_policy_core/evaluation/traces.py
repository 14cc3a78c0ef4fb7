# SPDX-License-Identifier: Apache-2.0
"""Predicted and recorded actions of one key over all episodes, as the checks read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.evaluation.open_loop import EpisodeResult

Vector = NDArray[np.float64]

# A value that moves less than this part of the key's most moving one tells nothing.
MIN_MOTION = 1e-3
MIN_SPREAD = 1e-12  # its variance, in the units of the dataset
# Errors below this part of the motion are rounding.
MIN_ERROR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTrace:
    """One action key over all episodes, one entry for each episode where it is a list.

    Args:
        key: The action key.
        names: The names of its D values.
        predicted: float64 (steps, D) each.
        recorded: float64 (steps, D) each.
        observed: The state of the observation behind each step, float64 (steps, D) each; None where
            no state has the key's name and size.
        starts: The steps of the observations, int (N,) each.
    """

    key: str
    names: tuple[str, ...]
    predicted: list[Vector]
    recorded: list[Vector]
    observed: list[Vector] | None
    starts: list[NDArray[np.int64]]

    @classmethod
    def of(cls, results: Sequence[EpisodeResult], key: str, names: Sequence[str]) -> KeyTrace:
        """The trace of a key.

        Args:
            results: What the policy answered along each episode.
            key: The action key.
            names: The names of its values.
        """
        observed = None
        if all(key in r.states and r.states[key].shape[1] == len(names) for r in results):
            observed = [_held(r.states[key], r.starts, r.steps) for r in results]
        return cls(
            key=key,
            names=tuple(names),
            predicted=[r.predicted[key].astype(np.float64) for r in results],
            recorded=[r.recorded[key].astype(np.float64) for r in results],
            observed=observed,
            starts=[r.starts for r in results],
        )

    @property
    def all_predicted(self) -> Vector:
        """Of all episodes, float64 (steps, D)."""
        return np.concatenate(self.predicted)

    @property
    def all_recorded(self) -> Vector:
        """Of all episodes, float64 (steps, D)."""
        return np.concatenate(self.recorded)

    @property
    def spread(self) -> Vector:
        """The variance of each recorded value, float64 (D,)."""
        spread: Vector = np.var(self.all_recorded, axis=0)
        return spread

    @property
    def moves(self) -> NDArray[np.bool_]:
        """Whether each value moves enough to be judged, bool (D,)."""
        spread = self.spread
        moves: NDArray[np.bool_] = spread > MIN_MOTION**2 * spread.max(initial=0.0)
        return moves & (spread > MIN_SPREAD)

    @property
    def relative_errors(self) -> Vector:
        """Mean squared error by the variance of the recorded value, float64 (D,); NaN where it
        does not move. 1 is as bad as to predict the mean."""
        return self.relative(np.mean((self.all_predicted - self.all_recorded) ** 2, axis=0))

    def relative(self, squared_errors: Vector) -> Vector:
        """Mean squared errors (D,) by the variance of the recorded values; NaN where none move."""
        relative = np.full(len(self.names), np.nan)
        np.divide(squared_errors, self.spread, out=relative, where=self.moves)
        return relative


def _held(states: NDArray[np.float32], starts: NDArray[np.int64], steps: int) -> Vector:
    """The state of the newest observation at each step, float64 (steps, D)."""
    newest = np.searchsorted(starts, np.arange(steps), side="right") - 1
    return states[newest].astype(np.float64)
