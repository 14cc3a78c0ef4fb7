# SPDX-License-Identifier: Apache-2.0
"""Symptoms of the motion: pauses, late chunks, jitter, and a robot that follows late. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from gr00t_ros.diagnose.latency import CONTROLLER
from gr00t_ros.diagnose.reasons import durations_s, longest_reasons
from gr00t_ros.diagnose.run import Activity, Run, Series
from gr00t_ros.diagnose.symptom import Level, Measurements, Symptom, in_ms

# From here on something is worth a warning, or is bad.
PAUSED_SHARE, PAUSED_SHARE_BAD = 0.02, 0.2
LAG_S, LAG_BAD_S = 0.1, 0.25
LEAD_S = 0.02
SHAKY = 0.5  # the mean acceleration within chunks, by the mean step
JUMPY = 3.0  # the mean jump between chunks, by the mean step
MIN_SAMPLES = 10
ADDED_SHAKE = 3.0  # the measured second difference, by the commanded one


def errors(measured: Measurements) -> Iterator[Symptom]:
    """The control node stopped and needs a person."""
    for reason in durations_s(measured.run, Activity.ERROR):
        yield Symptom(
            level=Level.BAD,
            title="The control node stopped with an error",
            text=reason or "It gave no reason.",
            remedy="A person is needed: remove the cause, then call ~/start of the control node.",
            size=100.0,
        )


def pauses(measured: Measurements) -> Iterator[Symptom]:
    """Times without motion, from the first chunk that was played on."""
    run = measured.run
    first_s = next((p.begin_s for p in run.phases if p.activity is Activity.PLAYING), None)
    if first_s is None:
        if run.phases:
            reasons = longest_reasons(durations_s(run, Activity.WAITING, Activity.HOLDING))
            yield Symptom(
                level=Level.BAD,
                title="The robot was never moved",
                text=f"No chunk was played. {reasons}",
                remedy="docs/how-to/troubleshoot.md, Nothing moves, explains each reason.",
                size=50.0,
            )
        return
    whole_s = run.phases[-1].end_s - first_s
    durations = durations_s(run, Activity.WAITING, Activity.HOLDING, since_s=first_s)
    paused_s = sum(durations.values())
    if whole_s <= 0.0 or paused_s < PAUSED_SHARE * whole_s:
        return
    share = paused_s / whole_s
    yield Symptom(
        level=Level.BAD if share > PAUSED_SHARE_BAD else Level.WARNING,
        title="The robot paused",
        text=f"It held for {paused_s:.1f} s of {whole_s:.1f} s ({share:.0%}). "
        f"{longest_reasons(durations)}",
        remedy="docs/how-to/troubleshoot.md, Nothing moves, explains each reason.",
        size=share / PAUSED_SHARE,
    )


def late_chunks(measured: Measurements) -> Iterator[Symptom]:
    """Chunks that came after the end of the one before."""
    gaps_s = _gaps_s(measured.run)
    late_s = [gap_s for gap_s in gaps_s if gap_s > 0.0]
    if not late_s:
        return
    share = len(late_s) / len(gaps_s)
    yield Symptom(
        level=Level.BAD if share > PAUSED_SHARE_BAD else Level.WARNING,
        title="Chunks came too late",
        text=f"{len(late_s)} of {len(gaps_s)} chunks came after the end of the one before, by up "
        f"to {max(late_s):.2f} s: the robot stops and goes.",
        remedy="A faster policy, fewer denoising steps, or longer chunks; inference: sync if the "
        "policy takes longer than a chunk lasts.",
        size=share / PAUSED_SHARE,
    )


def refused_chunks(measured: Measurements) -> Iterator[Symptom]:
    """Chunks that the control node refused."""
    run = measured.run
    refused = [chunk for chunk in run.chunks if chunk.refused]
    count = max(len(refused), run.counters.chunks_rejected)
    if not count:
        return
    text = f"The control node refused {count} chunks."
    if refused:
        text += f" The last: {refused[-1].refused}."
    yield Symptom(
        level=Level.WARNING,
        title="Chunks were refused",
        text=text,
        remedy="The log of the control node names each reason: age, units, joint ranges.",
        size=count / max(1, len(run.chunks)) / PAUSED_SHARE,
    )


def shaking(measured: Measurements) -> Iterator[Symptom]:
    """The three cases of NVIDIA's guide."""
    run, jitter = measured.run, measured.jitter
    if not jitter.step > 0.0:
        return
    shaky, jumpy = jitter.acceleration / jitter.step, jitter.boundary_jump / jitter.step
    if shaky > SHAKY:
        worst = _worst(run.joints, [j.acceleration for j in measured.joint_jitter])
        yield Symptom(
            level=Level.BAD if shaky > 1.0 else Level.WARNING,
            title="The policy shakes within its chunks (case A)",
            text=f"The mean acceleration within chunks is {shaky:.2f} of the mean step; most at "
            f"{worst}.",
            remedy="Train longer, or with more and better data; keep training and deployment "
            "alike.",
            size=shaky / SHAKY,
        )
    # Where most chunks are late, what lies between them is the motion of the pause.
    if jumpy > JUMPY and not np.median(_gaps_s(run) or [0.0]) > 0.0:
        worst = _worst(run.joints, [j.boundary_jump for j in measured.joint_jitter])
        yield Symptom(
            level=Level.BAD if jumpy > 3 * JUMPY else Level.WARNING,
            title="Chunks disagree with each other (case B)",
            text=f"From one chunk to the next it is {jitter.boundary_jump:.3g}, {jumpy:.1f} times "
            f"the mean step; most at {worst}. The directions agree to "
            f"{jitter.direction_agreement:.2f} (1: the same).",
            remedy="blend: rtc where the policy supports it, or a longer blend_s; train with "
            "state-relative actions.",
            size=jumpy / JUMPY,
        )
    if shaky <= SHAKY and jumpy <= JUMPY:
        yield from _shaking_robot(measured)


def late_robot(measured: Measurements) -> Iterator[Symptom]:
    """A robot that comes after its commands, or before them."""
    lag = measured.latency.part(CONTROLLER)
    if not lag.p50_s > LAG_S:
        if lag.p50_s < -LEAD_S:
            yield Symptom(
                level=Level.WARNING,
                title="The robot moves before its commands",
                text=f"By {in_ms(-lag.p50_s)}: the stamps of the joint states are wrong, or "
                "another node commands the robot.",
                remedy="Synchronise the clocks, and look at the publishers of the command topics.",
            )
        return
    lags_s = [joint.lag_s for joint in measured.latency.controller_lags]
    worst = _worst(measured.run.joints, lags_s)
    yield Symptom(
        level=Level.BAD if lag.p50_s > LAG_BAD_S else Level.WARNING,
        title="The robot follows its commands late",
        text=f"{in_ms(lag.p50_s)} after them; most at {worst} ({in_ms(np.nanmax(lags_s))}).",
        remedy="Raise the controller's gains or its velocity feed-forward, shorten its own "
        "interpolation, and check that the joint states are stamped when they are measured.",
        size=lag.p50_s / LAG_S,
    )


def _shaking_robot(measured: Measurements) -> Iterator[Symptom]:
    run = measured.run
    if min(len(run.commands), len(run.measured)) < MIN_SAMPLES:
        return
    commanded, found = _shake(run.commands), _shake(run.measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(commanded > 0.0, found / commanded, 0.0)
    if not np.nanmax(ratios, initial=0.0) > ADDED_SHAKE:
        return
    worst = int(np.nanargmax(ratios))
    yield Symptom(
        level=Level.WARNING,
        title="The robot shakes, not the policy (case C)",
        text=f"Chunks and commands are smooth, but {run.joints[worst]} shakes {ratios[worst]:.0f} "
        "times as much as its command.",
        remedy="Check the gains of the controller, its interpolation, control_rate_hz, and the "
        "hardware.",
        size=float(ratios[worst] / ADDED_SHAKE),
    )


def _shake(series: Series) -> np.ndarray:
    """The root mean square of the second differences at 50 Hz, by joint."""
    times_s, values = series.times_s, series.values
    grid = np.arange(times_s[0], times_s[-1], 0.02)
    columns = [np.interp(grid, times_s, column) for column in values.T]
    bends = np.diff(np.stack(columns, axis=1), n=2, axis=0)
    return np.sqrt(np.nanmean(bends**2, axis=0))


def _gaps_s(run: Run) -> list[float]:
    """From the end of each chunk to the arrival of the next, s; negative where it is in time."""
    return [after.received_s - before.end_s for before, after in pairwise(run.played)]


def _worst(joints: tuple[str, ...], values: list[float]) -> str:
    known = [(v, name) for v, name in zip(values, joints, strict=True) if not np.isnan(v)]
    return max(known)[1] if known else "none"
