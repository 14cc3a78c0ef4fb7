# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy on a dataset: accuracy, latency, and what is wrong by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.evaluation.accuracy import Accuracy, measure_accuracy
from gr00t_policy_core.evaluation.episode_observations import EpisodeReader
from gr00t_policy_core.evaluation.faults import find_faults
from gr00t_policy_core.evaluation.finding import Finding
from gr00t_policy_core.evaluation.open_loop import (
    AskingPlan,
    EpisodeResult,
    OpenLoop,
    OpenLoopSettings,
)
from gr00t_policy_core.evaluation.swapped_inputs import ProbeStep, find_swapped_inputs
from gr00t_policy_core.evaluation.traces import KeyTrace
from gr00t_policy_core.policy import BasePolicy

PROBE_STEPS = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the calls of a policy took, s. The first call, which may warm it up, is apart."""

    calls: int
    first_s: float
    p50_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, latencies_s: NDArray[np.float64]) -> Latency:
        """Summarise latencies, in the order of the calls; with a single call it counts itself."""
        rest = latencies_s[1:] if len(latencies_s) > 1 else latencies_s
        p50_s, p99_s = np.percentile(rest, [50, 99])
        return cls(
            len(latencies_s), float(latencies_s[0]), float(p50_s), float(p99_s), float(rest.max())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEvaluation:
    """One policy, evaluated.

    Args:
        name: What the report calls it.
        episodes: What it answered, one entry for each episode.
        names: The names of the values of each compared action key.
        stride: Steps from one observation to the next.
        horizon: Steps of a chunk.
        accuracy: Its errors.
        latency: Of its calls.
        findings: What is wrong, the largest errors first.
        tried_swaps: Whether it was asked with inputs exchanged.
        left_out: Recorded steps at which it could not be asked, by reason.
        notes: What else there is to know, a sentence each.
    """

    name: str
    episodes: tuple[EpisodeResult, ...]
    names: dict[str, tuple[str, ...]]
    stride: int
    horizon: int
    accuracy: Accuracy
    latency: Latency
    findings: tuple[Finding, ...]
    tried_swaps: bool
    left_out: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is evaluated.

    Args:
        episodes: The length of each episode by its index.
        open_loop: How far and how often the policy is asked.
        probe_steps: Steps at which inputs are exchanged; 0 for none.
    """

    episodes: Mapping[int, int]
    open_loop: OpenLoopSettings
    probe_steps: int = PROBE_STEPS


NamesOf = Callable[[str, str], tuple[str, ...]]


def evaluate(
    name: str,
    policy: BasePolicy,
    dataset: EpisodeReader,
    names_of: NamesOf,
    settings: EvaluationSettings,
) -> PolicyEvaluation:
    """Evaluate a policy.

    Args:
        name: What the report calls it.
        policy: The policy.
        dataset: The recorded episodes.
        names_of: Gives the names of the values of a key, from its modality and key.
        settings: What is evaluated.

    Raises:
        PolicyError: The policy and the dataset do not match, or the policy fails.
    """
    run = OpenLoop(policy, dataset, settings.open_loop)
    results = []
    for index, length in settings.episodes.items():
        results.append(run.run(index, length))
        logger.info("%s: episode %d, %d steps", name, index, results[-1].steps)
    names = {key: names_of("action", key) for key in run.plan.keys}
    swaps = None
    if settings.probe_steps > 0 and not run.is_replay:
        state_names = {key: names_of("state", key) for key in results[0].states}
        swaps = SwapProbe(policy, _probe_steps(run, results, settings), state_names)
    return judge(name, results, names, run.plan, swaps)


@dataclass(frozen=True, slots=True)
class SwapProbe:
    """What it takes to find swapped inputs: the policy is asked again at some steps.

    Args:
        policy: It must answer an observation by itself, whatever came before.
        steps: Observations from different parts of the episodes.
        state_names: The names of the values of each state key.
    """

    policy: BasePolicy
    steps: Sequence[ProbeStep]
    state_names: Mapping[str, Sequence[str]]


def judge(
    name: str,
    results: Sequence[EpisodeResult],
    names: Mapping[str, tuple[str, ...]],
    plan: AskingPlan,
    swaps: SwapProbe | None,
    *,
    left_out: Mapping[str, int] = MappingProxyType({}),
    notes: Sequence[str] = (),
) -> PolicyEvaluation:
    """Judge what a policy answered.

    Args:
        name: What the report calls it.
        results: Its answers along each episode; at least one.
        names: The names of the values of each compared action key.
        plan: How it was asked.
        swaps: How swapped inputs are found; None where they are not looked for.
        left_out: Recorded steps at which it could not be asked, by reason.
        notes: What else there is to know, a sentence each.

    Raises:
        PolicyError: The policy fails when it is asked again.
    """
    traces = [KeyTrace.of(results, key, names[key]) for key in plan.keys]
    findings = find_faults(traces)
    if swaps is not None:
        spreads = {trace.key: trace.spread for trace in traces}
        findings += find_swapped_inputs(swaps.policy, swaps.steps, spreads, swaps.state_names)
        findings.sort(key=lambda finding: -finding.before)
    return PolicyEvaluation(
        name=name,
        episodes=tuple(results),
        names=dict(names),
        stride=plan.stride,
        horizon=plan.horizon,
        accuracy=measure_accuracy(results, names),
        latency=Latency.of(np.concatenate([result.latencies_s for result in results])),
        findings=tuple(findings),
        tried_swaps=swaps is not None,
        left_out=left_out,
        notes=tuple(notes),
    )


def _probe_steps(
    run: OpenLoop, results: Sequence[EpisodeResult], settings: EvaluationSettings
) -> list[ProbeStep]:
    """Steps from all parts of the episodes, evenly."""
    places = [(result, number) for result in results for number in range(len(result.starts))]
    count = min(settings.probe_steps, len(places))
    chosen = [places[i] for i in np.linspace(0, len(places) - 1, count).round().astype(int)]
    steps = []
    for result in results:
        numbers = [number for of, number in chosen if of is result]
        if not numbers:
            continue
        at = result.starts[numbers].tolist()
        length = settings.episodes[result.episode_index]
        observations = run.observations(result.episode_index, length, at)
        steps += [
            ProbeStep(observations.at(start), recorded_ahead(result, number))
            for start, number in zip(at, numbers, strict=True)
        ]
    return steps


def recorded_ahead(result: EpisodeResult, number: int) -> dict[str, Matrix]:
    """The recorded actions of one chunk as far as the episode has them, float32 (steps, D)."""
    ahead = {key: chunks[number] for key, chunks in result.recorded_chunks.items()}
    return {key: rows[~np.isnan(rows).any(axis=1)] for key, rows in ahead.items()}
