# SPDX-License-Identifier: Apache-2.0
"""Finds swapped cameras and swapped states by asking a policy again with two inputs exchanged.

If the policy was trained with the two the other way round, it predicts better so. Its noise makes
single answers differ: an exchange must be better on most of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.parquet import Matrix
from gr00t_policy_core.evaluation.finding import Fault, Finding
from gr00t_policy_core.policy import Action, BasePolicy, Observation

# An exchange leaves at most this part of the error, and is better on this part of the steps.
LEFT_OF_ERROR, BETTER_STEPS = 0.5, 0.75
MIN_ERROR = 1e-4  # of the variance: below, there is nothing to find
MAX_JOINTS = 8  # of a state key whose pairs are tried, at most 28


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """An observation, and the recorded actions from its step on, float32 (steps, D) by key."""

    observation: Observation
    recorded: dict[str, Matrix]


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Two inputs that are exchanged; of a state, its values of the action too if `both` is set."""

    modality: str
    key: str
    first: Any
    second: Any
    both: bool = False


@dataclass(frozen=True, slots=True)
class _Probe:
    """The steps, and the variance of the recorded values by action key."""

    steps: Sequence[ProbeStep]
    spreads: dict[str, NDArray[np.float64]]

    def errors(self, actions: Sequence[Action]) -> NDArray[np.float64]:
        """The error at each step: mean squared, by the variance, over the values that move."""
        pairs = zip(actions, self.steps, strict=True)
        return np.array([self._error(action, step.recorded) for action, step in pairs])

    def _error(self, action: Action, recorded: dict[str, Matrix]) -> float:
        parts = []
        for key, spread in self.spreads.items():
            rows = recorded[key].astype(np.float64)
            moves = spread > 0
            errors = (action[key][0, : len(rows)] - rows)[:, moves] ** 2 / spread[moves]
            parts.append(errors.mean(axis=0))
        joined = np.concatenate(parts)
        return float(joined.mean()) if joined.size else 0.0


def find_swapped_inputs(
    policy: BasePolicy,
    steps: Sequence[ProbeStep],
    spreads: dict[str, NDArray[np.float64]],
    names: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Ask a policy at a few steps with each pair of cameras, and of states, exchanged.

    Args:
        policy: It must answer an observation by itself, whatever came before.
        steps: Observations from different parts of the episodes.
        spreads: The variance of the recorded values, float64 (D,) by action key.
        names: The names of the values of each state key.
    """
    if not steps:
        return []
    probe = _Probe(steps, spreads)
    own = [policy.get_action(step.observation)[0] for step in steps]
    base = probe.errors(own)
    if not base.mean() > MIN_ERROR:
        return []
    findings = []
    for exchange in _exchanges(steps[0].observation):
        answers = [policy.get_action(_exchanged(step.observation, exchange))[0] for step in steps]
        errors = probe.errors(answers)
        if _is_better(errors, base):
            findings.append(_finding(exchange, names, base, errors))
        both = _with_action(exchange, spreads)
        if both is None:
            continue
        errors = probe.errors([_action(answer, both) for answer in answers])
        # The action alone in the other order is another mistake, which `find_faults` finds.
        of_action = probe.errors([_action(action, both) for action in own])
        if _is_better(errors, base) and _is_better(errors, of_action):
            findings.append(_finding(both, names, base, errors))
    return _best(findings)


def _exchanges(
    observation: Observation,
) -> Iterator[_Exchange]:
    video = observation.get("video", {})
    for first, second in combinations(video, 2):
        if video[first].shape == video[second].shape:
            yield _Exchange("video", "", first, second)
    for key, values in observation.get("state", {}).items():
        dimension = values.shape[-1]
        if dimension <= MAX_JOINTS:
            for first, second in combinations(range(dimension), 2):
                yield _Exchange("state", key, first, second)


def _with_action(exchange: _Exchange, spreads: dict[str, NDArray[np.float64]]) -> _Exchange | None:
    """The exchange in the action of the same name, too: all of it may have the other order."""
    if exchange.modality == "video" or exchange.key not in spreads:
        return None
    if exchange.second >= len(spreads[exchange.key]):
        return None
    return _Exchange("state", exchange.key, exchange.first, exchange.second, both=True)


def _exchanged(observation: Observation, exchange: _Exchange) -> Observation:
    entries = dict(observation[exchange.modality])
    if exchange.modality == "video":
        first, second = entries[exchange.first], entries[exchange.second]
        entries[exchange.first], entries[exchange.second] = second, first
    else:
        entries[exchange.key] = _swap(entries[exchange.key], exchange)
    return {**observation, exchange.modality: entries}


def _action(action: Action, exchange: _Exchange) -> Action:
    if not exchange.both:
        return action
    return {**action, exchange.key: _swap(action[exchange.key], exchange)}


def _swap(values: NDArray[Any], exchange: _Exchange) -> NDArray[Any]:
    order = np.arange(values.shape[-1])
    order[[exchange.first, exchange.second]] = exchange.second, exchange.first
    return values[..., order]


def _is_better(errors: NDArray[np.float64], than: NDArray[np.float64]) -> bool:
    is_smaller = errors.mean() < LEFT_OF_ERROR * than.mean()
    return bool(is_smaller and np.mean(errors < than) >= BETTER_STEPS)


def _finding(
    exchange: _Exchange,
    names: Mapping[str, Sequence[str]],
    base: NDArray[np.float64],
    errors: NDArray[np.float64],
) -> Finding:
    if exchange.modality == "video":
        fault, key, joints = Fault.SWAPPED_CAMERAS, f"{exchange.first}, {exchange.second}", ()
        pair = (exchange.first, exchange.second)
    else:
        fault, key = Fault.SWAPPED_STATES, exchange.key
        pair = joints = tuple(names[key][i] for i in (exchange.first, exchange.second))
    where = " in state and action" if exchange.both else ""
    return Finding(
        fault=fault,
        key=key,
        joints=joints,
        text=f"with {pair[0]} and {pair[1]} exchanged{where}, the policy predicts better at "
        f"{int((errors < base).sum())} of {len(base)} steps",
        before=float(base.mean()),
        after=float(errors.mean()),
    )


def _best(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for each input, the one that leaves the smallest error."""
    kept: list[Finding] = []
    taken: set[str] = set()
    for finding in sorted(findings, key=lambda finding: finding.after):
        concerned = set(finding.joints or finding.key.split(", "))
        if not taken & concerned:
            taken |= concerned
            kept.append(finding)
    return kept
