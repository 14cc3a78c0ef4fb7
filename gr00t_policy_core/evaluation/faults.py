# SPDX-License-Identifier: Apache-2.0
"""Finds what is wrong with predicted actions by undoing one mistake after the other.

Each explanation is a mistake whose reversal gives other predictions. It is found where these are
much closer to the recorded actions than the policy's own, and better than a constant. Of several
explanations of a value, the one with the smallest remaining error counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.evaluation.finding import Fault, Finding
from gr00t_policy_core.evaluation.traces import MIN_ERROR, KeyTrace, Vector

MAX_SHIFT = 16  # steps
# An explanation leaves at most this part of the squared error, and of the recorded variance.
LEFT_OF_ERROR, LEFT_OF_MOTION = 0.25, 0.5
DEGREES = 180.0 / math.pi
FACTORS = {DEGREES: "degrees and rad", 100.0: "percent and parts, or cm and m", 1e3: "mm and m"}
# A flat value moves by less than this part of the recorded standard deviation.
FLAT = 0.05
# A first action is far where it is this many times further from the state than the recorded one.
FAR = 3.0


@dataclass(frozen=True, slots=True)
class _Explanation:
    """A mistake, and the relative errors (D,) that are left once it is undone."""

    fault: Fault
    detail: str
    left: Vector


def find_faults(traces: Sequence[KeyTrace]) -> list[Finding]:
    """Find what is wrong with the actions of a policy, the largest errors first.

    Args:
        traces: One entry for each compared action key.
    """
    findings: list[Finding] = []
    unexplained: dict[str, NDArray[np.bool_]] = {}
    for trace in traces:
        open_questions = trace.moves & (trace.relative_errors > MIN_ERROR)
        for check in (_explained, _flat):  # small values that a factor explains are not flat
            for finding, concerned in check(trace, open_questions):
                findings.append(finding)
                open_questions = open_questions & ~concerned
        unexplained[trace.key] = open_questions
    findings.extend(_swapped(traces, unexplained))
    for trace in traces:
        findings.extend(_far_from_state(trace, unexplained[trace.key]))
    return sorted(findings, key=lambda finding: -finding.before)


def _flat(
    trace: KeyTrace, candidates: NDArray[np.bool_]
) -> Iterator[tuple[Finding, NDArray[np.bool_]]]:
    predicted, recorded = trace.all_predicted, trace.all_recorded
    deviation = np.sqrt(trace.spread)
    concerned = candidates & (np.std(predicted, axis=0) < FLAT * deviation)
    if not concerned.any():
        return
    offset = np.abs(predicted.mean(axis=0) - recorded.mean(axis=0))
    at_mean = bool((offset[concerned] < deviation[concerned]).all())
    where = "at its mean" if at_mean else "away from its mean"
    ranges = ", ".join(
        f"{trace.names[i]} at {predicted[:, i].mean():.3g} "
        f"(recorded {recorded[:, i].min():.3g} to {recorded[:, i].max():.3g})"
        for i in np.flatnonzero(concerned)
    )
    yield _finding(trace, Fault.FLAT, concerned, f"flat {where}: {ranges}", None), concerned


def _explained(
    trace: KeyTrace, candidates: NDArray[np.bool_]
) -> Iterator[tuple[Finding, NDArray[np.bool_]]]:
    """The best explanation of each value, values with the same one together."""
    explanations = list(_explanations(trace))
    left = np.array([explanation.left for explanation in explanations])
    best = np.argmin(np.where(np.isnan(left), np.inf, left), axis=0)
    limit = np.minimum(LEFT_OF_ERROR * trace.relative_errors, LEFT_OF_MOTION)
    is_better = candidates & ~(left.min(axis=0) >= limit)
    for number, explanation in enumerate(explanations):
        concerned = is_better & (best == number)
        if concerned.any():
            text = explanation.detail
            yield (
                _finding(trace, explanation.fault, concerned, text, explanation.left),
                concerned,
            )


def _explanations(trace: KeyTrace) -> Iterator[_Explanation]:
    predicted, recorded = trace.all_predicted, trace.all_recorded

    def left(undone: Vector) -> Vector:
        return trace.relative(np.mean((undone - recorded) ** 2, axis=0))

    yield _Explanation(Fault.SIGN, "predicted with the opposite sign", left(-predicted))
    for factor, units in FACTORS.items():
        for size, how in ((factor, "too large"), (1.0 / factor, "too small")):
            detail = f"predicted {factor:.3g} times {how} ({units})"
            yield _Explanation(Fault.FACTOR, detail, left(predicted / size))
            detail = f"{detail} and with the opposite sign"
            yield _Explanation(Fault.FACTOR, detail, left(-predicted / size))
    if trace.observed is not None:
        observed = np.concatenate(trace.observed)
        detail = "predicted relative to the state, recorded absolute"
        yield _Explanation(Fault.RELATIVE_AS_ABSOLUTE, detail, left(predicted + observed))
        detail = "the state of the observation is added once too often"
        yield _Explanation(Fault.STATE_ADDED_TWICE, detail, left(predicted - observed))
    yield _shifted(trace)


def _shifted(trace: KeyTrace) -> _Explanation:
    """The shift of the whole key that leaves the smallest error."""
    by_shift = {
        shift: trace.relative(_squared_errors_shifted(trace, shift))
        for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)
        if shift and all(len(rows) > abs(shift) for rows in trace.recorded)
    }
    if not by_shift or not trace.moves.any():
        return _Explanation(Fault.SHIFTED, "", np.full(len(trace.names), np.inf))
    shift = min(by_shift, key=lambda shift: float(np.nanmean(by_shift[shift])))
    steps = f"{abs(shift)} step{'s' if abs(shift) > 1 else ''}"
    return _Explanation(
        Fault.SHIFTED, f"predicted {steps} {'late' if shift > 0 else 'early'}", by_shift[shift]
    )


def _squared_errors_shifted(trace: KeyTrace, shift: int) -> Vector:
    """Of the prediction of a step against what was recorded `shift` steps before."""
    parts = []
    for predicted, recorded in zip(trace.predicted, trace.recorded, strict=True):
        steps = len(recorded) - abs(shift)
        late, early = max(shift, 0), max(-shift, 0)
        parts.append(predicted[late : late + steps] - recorded[early : early + steps])
    squared: Vector = np.mean(np.concatenate(parts) ** 2, axis=0)
    return squared


def _swapped(
    traces: Sequence[KeyTrace], unexplained: dict[str, NDArray[np.bool_]]
) -> Iterator[Finding]:
    """Pairs of values, of one key or of two, that are each other's; removes what it explains."""
    places = [(t, i) for t in traces for i in np.flatnonzero(unexplained[t.key])]
    if len(places) < 2:
        return
    predicted = np.stack([t.all_predicted[:, i] for t, i in places], axis=1)
    recorded = np.stack([t.all_recorded[:, i] for t, i in places], axis=1)
    spread = np.var(recorded, axis=0)
    # errors[i, j]: the prediction of i against what was recorded of j
    errors = (
        np.stack([np.mean((predicted[:, [i]] - recorded) ** 2, axis=0) for i in range(len(places))])
        / spread
    )
    own = np.diag(errors)
    pairs = [
        (max(errors[i, j], errors[j, i]), i, j)
        for i in range(len(places))
        for j in range(i + 1, len(places))
        if errors[i, j] < min(LEFT_OF_ERROR * own[j], LEFT_OF_MOTION)
        and errors[j, i] < min(LEFT_OF_ERROR * own[i], LEFT_OF_MOTION)
    ]
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if taken & {i, j}:
            continue
        taken |= {i, j}
        (first, one), (second, other) = places[i], places[j]
        unexplained[first.key][one] = unexplained[second.key][other] = False
        names = (first.names[one], second.names[other])
        yield Finding(
            fault=Fault.SWAPPED_JOINTS,
            key=first.key if first is second else f"{first.key}, {second.key}",
            joints=names,
            text=f"{names[0]} is predicted as {names[1]}, and the other way round",
            before=float((own[i] + own[j]) / 2),
            after=float((errors[i, j] + errors[j, i]) / 2),
        )


def _far_from_state(trace: KeyTrace, candidates: NDArray[np.bool_]) -> Iterator[Finding]:
    """First actions far from the state, where the recorded ones are near."""
    if trace.observed is None:
        return
    predicted, recorded = (
        _first_distances(trace, trace.predicted),
        _first_distances(trace, trace.recorded),
    )
    usual = np.quantile(recorded, 0.95, axis=0)
    deviation = np.sqrt(trace.spread)
    found = np.median(predicted, axis=0)
    concerned = candidates & (usual < deviation) & (found > FAR * usual + 0.1 * deviation)
    if not concerned.any():
        return
    distances = ", ".join(
        f"{trace.names[i]} by {found[i]:.3g} (recorded {usual[i]:.3g})"
        for i in np.flatnonzero(concerned)
    )
    text = f"the first action of a chunk is away from the state: {distances}"
    yield _finding(trace, Fault.FAR_FROM_STATE, concerned, text, None)


def _first_distances(trace: KeyTrace, actions: list[Vector]) -> Vector:
    """The distances of actions at the steps of the observations from the states there, (N, D)."""
    parts = zip(actions, trace.observed or [], trace.starts, strict=True)
    return np.concatenate([np.abs(rows[at] - states[at]) for rows, states, at in parts])


def _finding(
    trace: KeyTrace,
    fault: Fault,
    concerned: NDArray[np.bool_],
    text: str,
    left: Vector | None,
) -> Finding:
    joints = tuple(trace.names[i] for i in np.flatnonzero(concerned))
    return Finding(
        fault=fault,
        key=trace.key,
        joints=joints,
        text=text,
        before=float(np.mean(trace.relative_errors[concerned])),
        after=float("nan") if left is None else float(np.mean(left[concerned])),
    )
