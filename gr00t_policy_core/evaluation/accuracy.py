# SPDX-License-Identifier: Apache-2.0
"""How far predicted actions are from recorded ones.

The mean squared and the mean absolute error of an episode are those of Isaac-GR00T's open-loop
evaluation: over all compared steps and all values of all keys at once, in the units of the dataset;
the average is the mean over episodes, each with the same weight. With the same policy, dataset,
steps, execution horizon and keys the numbers can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.evaluation.open_loop import EpisodeResult

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WorstStep:
    """The largest error of a joint: predicted minus recorded, and where it is."""

    error: float
    episode_index: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JointAccuracy:
    """The errors of one value of an action key, in the units of the dataset.

    Args:
        name: The joint's name, or its key and number.
        mse: Mean squared error.
        mae: Mean absolute error.
        worst: The step with the largest absolute error.
    """

    name: str
    mse: float
    mae: float
    worst: WorstStep


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAccuracy:
    """The errors of one action key over all episodes.

    Args:
        key: The action key.
        joints: The errors of each of its values.
        mse: Mean squared error of all its values.
        mae: Mean absolute error of all its values.
        mse_by_step: float64 (horizon,): mean squared error by step of the chunk, over all steps of
            every chunk that the episode still records; NaN where it records none.
        mae_by_step: float64 (horizon,): mean absolute error, likewise.
    """

    key: str
    joints: tuple[JointAccuracy, ...]
    mse: float
    mae: float
    mse_by_step: Vector
    mae_by_step: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The errors of a policy.

    Args:
        mse: Mean over the episodes of their mean squared error: Isaac-GR00T's average MSE.
        mae: Mean over the episodes of their mean absolute error: Isaac-GR00T's average MAE.
        mse_by_episode: Mean squared error by episode index.
        mae_by_episode: Mean absolute error by episode index.
        keys: The errors of each action key.
    """

    mse: float
    mae: float
    mse_by_episode: dict[int, float]
    mae_by_episode: dict[int, float]
    keys: tuple[KeyAccuracy, ...]


def measure_accuracy(
    results: Sequence[EpisodeResult], names: Mapping[str, Sequence[str]]
) -> Accuracy:
    """Measure the errors of a policy.

    Args:
        results: What it answered, one entry for each episode; at least one.
        names: The names of the values of each compared action key.
    """
    errors = {
        result.episode_index: np.concatenate([_errors(result, key) for key in names], axis=1)
        for result in results
    }
    mse = {index: float(np.mean(values**2)) for index, values in errors.items()}
    mae = {index: float(np.mean(np.abs(values))) for index, values in errors.items()}
    return Accuracy(
        mse=float(np.mean(list(mse.values()))),
        mae=float(np.mean(list(mae.values()))),
        mse_by_episode=mse,
        mae_by_episode=mae,
        keys=tuple(_key_accuracy(results, key, of_key) for key, of_key in names.items()),
    )


def _key_accuracy(results: Sequence[EpisodeResult], key: str, names: Sequence[str]) -> KeyAccuracy:
    errors = np.concatenate([_errors(result, key) for result in results])
    places = [(r.episode_index, step) for r in results for step in range(r.steps)]
    joints = []
    for number, name in enumerate(names):
        column = errors[:, number]
        worst = int(np.argmax(np.abs(column)))
        joints.append(
            JointAccuracy(
                name=name,
                mse=float(np.mean(column**2)),
                mae=float(np.mean(np.abs(column))),
                worst=WorstStep(float(column[worst]), *places[worst]),
            )
        )
    by_step = _errors_by_step(results, key)
    return KeyAccuracy(
        key=key,
        joints=tuple(joints),
        mse=float(np.mean(errors**2)),
        mae=float(np.mean(np.abs(errors))),
        mse_by_step=np.array([_mean(of_step**2) for of_step in by_step]),
        mae_by_step=np.array([_mean(np.abs(of_step)) for of_step in by_step]),
    )


def _errors(result: EpisodeResult, key: str) -> Vector:
    return result.predicted[key].astype(np.float64) - result.recorded[key]


def _errors_by_step(results: Sequence[EpisodeResult], key: str) -> list[Vector]:
    """The errors at each step of the chunks, float64 (chunks that reach so far, D)."""
    recorded = np.concatenate([r.recorded_chunks[key] for r in results]).swapaxes(0, 1)
    predicted = np.concatenate([r.chunks[key] for r in results]).swapaxes(0, 1)
    is_known = ~np.isnan(recorded).any(axis=2)
    errors = predicted.astype(np.float64) - recorded
    return [of_step[known] for of_step, known in zip(errors, is_known, strict=True)]


def _mean(values: Vector) -> float:
    return float(np.mean(values)) if values.size else float("nan")
