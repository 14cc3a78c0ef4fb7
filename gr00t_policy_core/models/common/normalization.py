# SPDX-License-Identifier: Apache-2.0
"""Normalization between physical units and the network's values, for each key.

The formulas are those of Isaac-GR00T's StateActionProcessor (N1.6 and N1.7). All arrays are
(..., D) or (..., T, D); bounds are (D,), or (T, D) where each step of a chunk has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import SpecError

Array = NDArray[Any]


KINDS = ("min", "q01", "mean", "max", "q99", "std")  # the first one present gives the shape


class Normalization(Protocol):
    """The normalization of one key."""

    def normalize(self, values: Array) -> Array:
        """Physical values (..., D) to normalized values (..., width)."""

    def unnormalize(self, values: Array) -> Array:
        """Normalized values (..., D) to physical values (..., D); for actions only."""


@dataclass(frozen=True, slots=True)
class MinMax:
    """Maps [low, high] to [-1, 1]; a constant dimension becomes 0.

    Args:
        low: Lower bounds in physical units, (D,), or (T, D) with bounds for each step.
        high: Upper bounds, of the same shape.
        clip: Clip normalized values to [-1, 1].
        exact: A dimension is constant only if its bounds are equal. False also takes bounds that
            `numpy.isclose` for constant.
    """

    low: Array
    high: Array
    clip: bool
    exact: bool = False

    def normalize(self, values: Array) -> Array:
        low, high = self._bounds(values)
        span = high - low
        constant = span == 0.0 if self.exact else np.isclose(high, low)
        scaled = 2.0 * (values - low) / np.where(constant, 1.0, span) - 1.0
        normalized = np.where(constant, 0.0, scaled)
        return np.clip(normalized, -1.0, 1.0) if self.clip else normalized

    def unnormalize(self, values: Array) -> Array:
        low, high = self._bounds(values)
        return np.asarray((np.clip(values, -1.0, 1.0) + 1.0) / 2.0 * (high - low) + low)

    def _bounds(self, values: Array) -> tuple[Array, Array]:
        """The bounds of the steps of `values`, which may be the first part of a chunk."""
        if self.low.ndim == 1:
            return self.low, self.high
        steps = values.shape[-2]
        return self.low[:steps], self.high[:steps]


@dataclass(frozen=True, slots=True)
class MeanStd:
    """Maps to mean 0 and deviation 1; a dimension of deviation 0 is not changed.

    Args:
        mean: Means in physical units, (D,), or (T, D) with means for each step.
        std: Standard deviations, of the same shape.
        clip: Clip normalized values to [-1, 1], as the reference does for actions, not for states.
    """

    mean: Array
    std: Array
    clip: bool = False

    def normalize(self, values: Array) -> Array:
        mean, std = self._moments(values)
        normalized = (values - mean) / std
        return np.clip(normalized, -1.0, 1.0) if self.clip else np.asarray(normalized)

    def unnormalize(self, values: Array) -> Array:
        mean, std = self._moments(values)
        return np.asarray(values * std + mean)

    def _moments(self, values: Array) -> tuple[Array, Array]:
        steps = values.shape[-2] if self.mean.ndim == 2 else None
        mean, std = self.mean[:steps], self.std[:steps]
        constant = std == 0.0
        return np.where(constant, 0.0, mean), np.where(constant, 1.0, std)


@dataclass(frozen=True, slots=True)
class SinCos:
    """Maps angles (rad) to all their sines, then all their cosines; for states only."""

    def normalize(self, values: Array) -> Array:
        return np.concatenate([np.sin(values), np.cos(values)], axis=-1)

    def unnormalize(self, values: Array) -> Array:
        raise SpecError("cannot undo sine and cosine", ["the reference encodes no action so"])


@dataclass(frozen=True, slots=True)
class LiberoGripper:
    """Maps the last value of an action, in [0, 1], to LIBERO's sign: -1 opens, 1 closes.

    Args:
        inner: The normalization of the action before that mapping.
    """

    inner: Normalization

    def normalize(self, values: Array) -> Array:
        gripper = (1.0 - np.asarray(values[..., -1:])) / 2.0
        return self.inner.normalize(np.concatenate([values[..., :-1], gripper], axis=-1))

    def unnormalize(self, values: Array) -> Array:
        physical = self.inner.unnormalize(values)
        sign = -np.sign(2.0 * physical[..., -1:] - 1.0)
        return np.concatenate([physical[..., :-1], sign], axis=-1)


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """The entry of one key in statistics.json, as float64 arrays.

    Args:
        name: The path of the entry, for errors: ``new_embodiment.state.single_arm``.
        values: The statistics by kind: min, max, mean, std, q01, q99.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def dim(self) -> int:
        """Values per step, D."""
        return int(self.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """(D,), or (T, D) for statistics of each step."""
        present = next((kind for kind in KINDS if kind in self._kinds()), KINDS[0])
        return self[present].shape

    def _kinds(self) -> Mapping[str, Any]:
        return self.values if isinstance(self.values, Mapping) else {}

    def __getitem__(self, kind: str) -> Array:
        try:
            array = np.asarray(self.values[kind], dtype=np.float64)
        except (KeyError, TypeError):
            raise self._bad(f"{self.name}.{kind} is missing") from None
        except ValueError as error:
            raise self._bad(f"{self.name}.{kind}: {error}") from error
        if array.ndim not in (1, 2) or not array.size:
            shape = f"got shape {array.shape}"
            raise self._bad(f"{self.name}.{kind} must have 1 or 2 dimensions and values, {shape}")
        if not np.isfinite(array).all():
            raise self._bad(f"{self.name}.{kind} has values that are not finite")
        return array

    def min_max(self, percentiles: bool, clip: bool, exact: bool = False) -> MinMax:
        """The normalization by the extremes, or by the 1st and 99th percentile; see `MinMax`.

        Raises:
            SpecError: A kind is missing, its shape is wrong, or a lower bound is above the upper.
        """
        first, second = ("q01", "q99") if percentiles else ("min", "max")
        low, high = self._pair(first, second)
        if ((low > high) & ~np.isclose(low, high)).any():
            raise self._bad(f"{self.name}: {first} is above {second}")
        return MinMax(low, high, clip, exact)

    def mean_std(self, clip: bool) -> MeanStd:
        """The normalization by mean and deviation; see `MeanStd`.

        Raises:
            SpecError: A kind is missing, its shape is wrong, or a deviation is negative.
        """
        mean, std = self._pair("mean", "std")
        if (std < 0.0).any():
            raise self._bad(f"{self.name}.std has values below 0")
        return MeanStd(mean, std, clip)

    def _pair(self, first: str, second: str) -> tuple[Array, Array]:
        """Two kinds; raises `SpecError` unless they have one shape with `dim` values per step."""
        arrays = self[first], self[second]
        shapes = [array.shape for array in arrays]
        if shapes[0] != shapes[1] or shapes[0][-1] != self.dim:
            raise self._bad(
                f"{self.name}: {first} and {second} must have one shape, and {self.dim} values per "
                f"step as the other kinds, got {shapes[0]} and {shapes[1]}"
            )
        return arrays

    def _bad(self, problem: str) -> SpecError:
        return SpecError("bad statistics.json", [problem])
