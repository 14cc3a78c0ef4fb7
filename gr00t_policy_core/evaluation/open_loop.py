# SPDX-License-Identifier: Apache-2.0
"""Asks a policy along recorded episodes, as Isaac-GR00T's open-loop evaluation does.

Every `execution_horizon` steps the policy gets the recorded observation, and the first
`execution_horizon` steps of its chunk are compared with the recorded actions
(gr00t/eval/open_loop_eval.py of Isaac-GR00T N1.7).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.evaluation.episode_observations import EpisodeObservations, EpisodeReader
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy

Chunks = NDArray[np.float32]

logger = logging.getLogger(__name__)

# Isaac-GR00T's defaults.
STEPS, EXECUTION_HORIZON = 200, 16


@dataclass(frozen=True, slots=True)
class OpenLoopSettings:
    """How far and how often a policy is asked.

    Args:
        steps: Steps of each episode that are compared, at most.
        execution_horizon: Steps from one observation to the next; None takes 16, or the whole chunk
            where that is shorter.
        keys: Action keys to compare; None for all.
    """

    steps: int = STEPS
    execution_horizon: int | None = None
    keys: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingPlan:
    """At which steps one policy is asked, and what of its answers is compared.

    Args:
        keys: The compared action keys.
        horizon: Steps of a chunk.
        stride: Steps from one observation to the next.
        max_steps: Steps of each episode that are compared, at most.
    """

    keys: tuple[str, ...]
    horizon: int
    stride: int
    max_steps: int

    @classmethod
    def of(cls, configs: Mapping[str, ModalityConfig], settings: OpenLoopSettings) -> AskingPlan:
        """Make the plan of a policy.

        Args:
            configs: Its modality configs.
            settings: How far and how often it is asked.

        Raises:
            SpecError: The policy does not describe its action keys, its action steps have gaps, or
                a setting does not fit it.
        """
        action = _require_action(configs)
        horizon = len(action.delta_indices)
        return cls(
            keys=_compared_keys(settings.keys, action),
            horizon=horizon,
            stride=_stride(settings.execution_horizon, horizon),
            max_steps=settings.steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """What a policy answered along one episode.

    Args:
        episode_index: The episode.
        name: What a report calls it.
        starts: int (N,): the step of each observation.
        recorded: The recorded actions of the compared steps by key, float32 (steps, D).
        predicted: The executed steps of all chunks by key, float32 (steps, D).
        chunks: All steps of each chunk by key, float32 (N, horizon, D).
        recorded_chunks: The recorded actions of the same steps, float32 (N, horizon, D); NaN where
            the episode records none.
        states: The newest state of each observation by state key, float32 (N, D).
        latencies_s: How long each call took, float64 (N,), s.
    """

    episode_index: int
    name: str
    starts: NDArray[np.int64]
    recorded: dict[str, Matrix]
    predicted: dict[str, Matrix]
    chunks: dict[str, Chunks]
    recorded_chunks: dict[str, Chunks]
    states: dict[str, Matrix]
    latencies_s: NDArray[np.float64]

    @property
    def steps(self) -> int:
        """The number of steps that were compared."""
        return len(next(iter(self.predicted.values())))


class OpenLoop:
    """Runs a policy along the episodes of a dataset.

    Args:
        policy: The policy.
        dataset: The recorded episodes.
        settings: How far and how often it is asked.

    Raises:
        SpecError: The policy does not describe its keys, its action steps have gaps, or a setting
            does not fit it.
    """

    def __init__(
        self, policy: BasePolicy, dataset: EpisodeReader, settings: OpenLoopSettings
    ) -> None:
        self.configs = policy.get_modality_config()
        self.plan = AskingPlan.of(self.configs, settings)
        self._policy = policy
        self._dataset = dataset
        self.is_replay = False

    def run(self, episode_index: int, length: int) -> EpisodeResult:
        """Ask the policy along an episode.

        A policy that plays recordings says so in its answer to `reset`, with ``step_index``: it is
        set to the step of each observation.

        Args:
            episode_index: The episode.
            length: Its steps.

        Raises:
            PolicyError: The policy fails; the text names the step.
        """
        plan = self.plan
        steps = min(plan.max_steps, length)
        starts = np.arange(0, steps, plan.stride)
        observations = self.observations(episode_index, length, starts.tolist())
        recorded = self._dataset.read(episode_index, "action", plan.keys)
        info = self._policy.reset({"episode_index": episode_index})
        self.is_replay = "step_index" in info
        answers, latencies_s = [], []
        for start in starts.tolist():
            if self.is_replay:
                self._policy.reset({"episode_index": episode_index, "step_index": start})
            observation = observations.at(start)
            with _failing_at(f"episode {episode_index}, step {start}"):
                begun_s = time.perf_counter()
                action, _ = self._policy.get_action(observation)
                latencies_s.append(time.perf_counter() - begun_s)
            answers.append((observation.get("state", {}), action))
        chunks = {key: _chunks(answers, key, plan.horizon) for key in plan.keys}
        _require_widths(chunks, recorded)
        return EpisodeResult(
            episode_index=episode_index,
            name=f"episode {episode_index}",
            starts=starts,
            recorded={key: values[:steps] for key, values in recorded.items()},
            predicted={key: self._executed(value, steps) for key, value in chunks.items()},
            chunks=chunks,
            recorded_chunks={
                key: _ahead(values, starts, plan.horizon) for key, values in recorded.items()
            },
            states={key: np.stack([s[key][0, -1] for s, _ in answers]) for key in answers[0][0]},
            latencies_s=np.array(latencies_s),
        )

    def observations(
        self, episode_index: int, length: int, steps: Sequence[int]
    ) -> EpisodeObservations:
        """The observations of an episode at some of its steps, for this policy."""
        return EpisodeObservations(self._dataset, episode_index, length, self.configs, steps)

    def _executed(self, chunks: Chunks, steps: int) -> Matrix:
        executed = chunks[:, : self.plan.stride]
        return executed.reshape(-1, chunks.shape[-1])[:steps]


@contextlib.contextmanager
def _failing_at(where: str) -> Iterator[None]:
    """Name the step in the error of a policy."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(f"{where}: the policy failed: {error}") from error
    except Exception as error:  # a policy of the user's may raise anything
        logger.exception("%s: the policy raised", where)
        raise PolicyError(f"{where}: the policy failed: {type(error).__name__}: {error}") from error


def _require_action(configs: Mapping[str, ModalityConfig]) -> ModalityConfig:
    if "action" not in configs:
        raise SpecError("cannot evaluate", ["the policy does not describe its action keys"])
    deltas = configs["action"].delta_indices
    if deltas != list(range(len(deltas))):
        raise SpecError(
            "cannot evaluate", [f"the action steps must be 0, 1, 2, …, the policy's are {deltas}"]
        )
    return configs["action"]


def _stride(execution_horizon: int | None, horizon: int) -> int:
    if execution_horizon is None:
        return min(EXECUTION_HORIZON, horizon)
    if not 1 <= execution_horizon <= horizon:
        raise SpecError(
            "cannot evaluate",
            [f"execution_horizon must be 1 to {horizon}, the chunk's, got {execution_horizon}"],
        )
    return execution_horizon


def _compared_keys(keys: Sequence[str] | None, action: ModalityConfig) -> tuple[str, ...]:
    unknown = [key for key in keys or () if key not in action.modality_keys]
    if unknown:
        raise SpecError(
            "cannot evaluate",
            [f"the policy has no action key {unknown}, it has {action.modality_keys}"],
        )
    return tuple(keys or action.modality_keys)


def _ahead(recorded: Matrix, starts: NDArray[np.int64], horizon: int) -> Chunks:
    """The recorded actions from each start on, (N, horizon, D); NaN behind the end."""
    behind = np.full((horizon, recorded.shape[1]), np.nan, np.float32)
    padded = np.concatenate([recorded, behind])
    ahead: Chunks = padded[starts[:, np.newaxis] + np.arange(horizon)]
    return ahead


def _chunks(answers: Sequence[tuple[Any, Mapping[str, Any]]], key: str, horizon: int) -> Chunks:
    missing = next((action for _, action in answers if key not in action), None)
    if missing is not None:
        raise SpecError("bad action", [f"action.{key}: missing, got only {sorted(missing)}"])
    chunks = np.stack([np.asarray(action[key])[0] for _, action in answers])
    if chunks.ndim != 3 or chunks.shape[1] != horizon:
        raise SpecError(
            "bad action", [f"action.{key}: expected (B, {horizon}, D), got {chunks.shape[1:]}"]
        )
    return chunks


def _require_widths(chunks: Mapping[str, Chunks], recorded: Mapping[str, Matrix]) -> None:
    problems = [
        f"action.{key} has {chunks[key].shape[-1]} values, the dataset records {values.shape[-1]}"
        for key, values in recorded.items()
        if chunks[key].shape[-1] != values.shape[-1]
    ]
    if problems:
        raise SpecError("the policy does not match the dataset", problems)
