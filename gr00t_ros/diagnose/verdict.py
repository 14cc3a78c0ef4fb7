# SPDX-License-Identifier: Apache-2.0
"""The verdict on a run in words, worst first. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from gr00t_ros.diagnose.jitter import Jitter
from gr00t_ros.diagnose.latency import CONTROLLER, OBSERVATION, LatencyBudget
from gr00t_ros.diagnose.rates import TopicRate, lost_chunks
from gr00t_ros.diagnose.run import Activity, Run, Series

# From here on something is worth a warning, or is bad.
PAUSED_SHARE, PAUSED_SHARE_BAD = 0.02, 0.2
AGE_S, AGE_BAD_S = 0.15, 0.4
LAG_S, LAG_BAD_S = 0.1, 0.25
MISSING_SHARE, MISSING_SHARE_BAD = 0.02, 0.1
SKEW_S = 0.03
LIMITED_SHARE = 0.2  # of the commands, a limit changed one of its values
MISSED_SHARE = 0.01  # of the ticks
SHAKY = 0.5  # the mean acceleration within chunks, by the mean step
JUMPY = 3.0  # the mean jump between chunks, by the mean step
MIN_SAMPLES = 10
ADDED_SHAKE = 3.0  # the measured second difference, by the commanded one


class Level(IntEnum):
    """How bad a finding is."""

    NOTE = 0
    WARNING = 1
    BAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a run.

    Args:
        level: How bad it is.
        title: What it is, in a few words.
        text: What was measured.
        remedy: What to do about it.
        size: How far it is beyond its threshold; orders findings of one level.
    """

    level: Level
    title: str
    text: str
    remedy: str
    size: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was measured of a run.

    Args:
        run: The run.
        jitter: Of all joints together.
        joint_jitter: Of each joint.
        latency: The latency budget.
        rates: Of each topic.
    """

    run: Run
    jitter: Jitter
    joint_jitter: tuple[Jitter, ...]
    latency: LatencyBudget
    rates: tuple[TopicRate, ...]


def judge(measured: Measurements) -> list[Finding]:
    """Say what is wrong with a run, worst first."""
    findings = [finding for check in CHECKS for finding in check(measured)]
    return sorted(findings, key=lambda finding: (-finding.level, -finding.size))


def _errors(measured: Measurements) -> Iterator[Finding]:
    for reason in _durations(measured.run, Activity.ERROR):
        yield Finding(
            level=Level.BAD,
            title="The control node stopped with an error",
            text=reason or "It gave no reason.",
            remedy="A person is needed: remove the cause, then call ~/start of the control node.",
            size=100.0,
        )


def _pauses(measured: Measurements) -> Iterator[Finding]:
    """Times without motion, from the first chunk that was played on."""
    run = measured.run
    first_s = next((p.begin_s for p in run.phases if p.activity is Activity.PLAYING), None)
    if first_s is None:
        if run.phases:
            reasons = _longest(_durations(run, Activity.WAITING, Activity.HOLDING))
            yield Finding(
                level=Level.BAD,
                title="The robot was never moved",
                text=f"No chunk was played. {reasons}",
                remedy="docs/how-to/troubleshoot.md, Nothing moves, explains each reason.",
                size=50.0,
            )
        return
    whole_s = run.phases[-1].end_s - first_s
    durations = _durations(run, Activity.WAITING, Activity.HOLDING, since_s=first_s)
    paused_s = sum(durations.values())
    if whole_s <= 0.0 or paused_s < PAUSED_SHARE * whole_s:
        return
    share = paused_s / whole_s
    yield Finding(
        level=Level.BAD if share > PAUSED_SHARE_BAD else Level.WARNING,
        title="The robot paused",
        text=f"It held for {paused_s:.1f} s of {whole_s:.1f} s ({share:.0%}). "
        f"{_longest(durations)}",
        remedy="docs/how-to/troubleshoot.md, Nothing moves, explains each reason.",
        size=share / PAUSED_SHARE,
    )


def _late_chunks(measured: Measurements) -> Iterator[Finding]:
    gaps_s = _gaps_s(measured.run)
    late_s = [gap_s for gap_s in gaps_s if gap_s > 0.0]
    if not late_s:
        return
    share = len(late_s) / len(gaps_s)
    yield Finding(
        level=Level.BAD if share > PAUSED_SHARE_BAD else Level.WARNING,
        title="Chunks came too late",
        text=f"{len(late_s)} of {len(gaps_s)} chunks came after the end of the one before, by up "
        f"to {max(late_s):.2f} s: the robot stops and goes.",
        remedy="A faster policy, fewer denoising steps, or longer chunks; inference: sync if the "
        "policy takes longer than a chunk lasts.",
        size=share / PAUSED_SHARE,
    )


def _refused_chunks(measured: Measurements) -> Iterator[Finding]:
    run = measured.run
    refused = [chunk for chunk in run.chunks if chunk.refused]
    count = max(len(refused), run.counters.chunks_rejected)
    if not count:
        return
    text = f"The control node refused {count} chunks."
    if refused:
        text += f" The last: {refused[-1].refused}."
    yield Finding(
        level=Level.WARNING,
        title="Chunks were refused",
        text=text,
        remedy="The log of the control node names each reason: age, units, joint ranges.",
        size=count / max(1, len(run.chunks)) / PAUSED_SHARE,
    )


def _jitter(measured: Measurements) -> Iterator[Finding]:
    """The three cases of NVIDIA's guide."""
    run, jitter = measured.run, measured.jitter
    if not jitter.step > 0.0:
        return
    shaky, jumpy = jitter.acceleration / jitter.step, jitter.boundary_jump / jitter.step
    if shaky > SHAKY:
        worst = _worst(run.joints, [j.acceleration for j in measured.joint_jitter])
        yield Finding(
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
        yield Finding(
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


def _shaking_robot(measured: Measurements) -> Iterator[Finding]:
    run = measured.run
    if min(len(run.commands), len(run.measured)) < MIN_SAMPLES:
        return
    commanded, found = _shake(run.commands), _shake(run.measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(commanded > 0.0, found / commanded, 0.0)
    if not np.nanmax(ratios, initial=0.0) > ADDED_SHAKE:
        return
    worst = int(np.nanargmax(ratios))
    yield Finding(
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


def _latency(measured: Measurements) -> Iterator[Finding]:
    age = measured.latency.part(OBSERVATION)
    if age.p50_s > AGE_S:
        yield Finding(
            level=Level.BAD if age.p50_s > AGE_BAD_S else Level.WARNING,
            title="Observations are old when they are sent",
            text=f"{_ms(age.p50_s)} in the median, {_ms(age.p99_s)} at the 99th percentile.",
            remedy="Look at the delay of each camera below: exposure, driver, DDS profile, and "
            "whether its clock is synchronised.",
            size=age.p50_s / AGE_S,
        )
    elif age.p50_s < 0.0:
        yield Finding(
            level=Level.WARNING,
            title="Observations come from the future",
            text=f"They are sent {_ms(-age.p50_s)} before their own stamp.",
            remedy="The clocks of two machines differ: run chrony or PTP on both.",
        )
    if measured.latency.skew.p50_s > SKEW_S:
        yield Finding(
            level=Level.WARNING,
            title="The cameras are apart",
            text=f"{_ms(measured.latency.skew.p50_s)} between their images in the median.",
            remedy="Trigger the cameras together, or give them the same rate.",
            size=measured.latency.skew.p50_s / SKEW_S,
        )


def _controller(measured: Measurements) -> Iterator[Finding]:
    lag = measured.latency.part(CONTROLLER)
    if not lag.p50_s > LAG_S:
        if lag.p50_s < -0.02:
            yield Finding(
                level=Level.WARNING,
                title="The robot moves before its commands",
                text=f"By {_ms(-lag.p50_s)}: the stamps of the joint states are wrong, or another "
                "node commands the robot.",
                remedy="Synchronise the clocks, and look at the publishers of the command topics.",
            )
        return
    lags_s = [joint.lag_s for joint in measured.latency.controller_lags]
    worst = _worst(measured.run.joints, lags_s)
    yield Finding(
        level=Level.BAD if lag.p50_s > LAG_BAD_S else Level.WARNING,
        title="The robot follows its commands late",
        text=f"{_ms(lag.p50_s)} after them; most at {worst} ({_ms(np.nanmax(lags_s))}).",
        remedy="Raise the controller's gains or its velocity feed-forward, shorten its own "
        "interpolation, and check that the joint states are stamped when they are measured.",
        size=lag.p50_s / LAG_S,
    )


def _rates(measured: Measurements) -> Iterator[Finding]:
    for rate in measured.rates:
        if rate.missing_share > MISSING_SHARE:
            yield Finding(
                level=Level.BAD if rate.missing_share > MISSING_SHARE_BAD else Level.WARNING,
                title=f"{rate.name} has gaps",
                text=f"{rate.missing} of {rate.missing + rate.messages} messages are missing at "
                f"{rate.rate_hz:.1f} Hz, the longest gap is {rate.longest_gap_s:.2f} s.",
                remedy="docs/how-to/configure-cameras-and-dds.md: the Fast DDS profile, and the "
                "load of the machine.",
                size=rate.missing_share / MISSING_SHARE,
            )
    for name, (found_hz, expected_hz) in measured.run.slow_streams.items():
        yield Finding(
            level=Level.WARNING,
            title=f"{name} is slow",
            text=f"{found_hz:.1f} Hz received by the policy node, {expected_hz:.1f} Hz expected.",
            remedy="Start the driver with the Fast DDS profile, and look at its own rate.",
            size=expected_hz / max(found_hz, 0.1),
        )
    lost = lost_chunks(measured.run)
    if lost:
        yield Finding(
            level=Level.WARNING,
            title="Chunks were lost on the way",
            text=f"{lost} numbers are missing between those that were recorded.",
            remedy="Look at the load of the machine and its DDS settings.",
        )


def _loop(measured: Measurements) -> Iterator[Finding]:
    counters = measured.run.counters
    ticks = counters.commands + counters.ticks_missed
    if counters.ticks_missed > MISSED_SHARE * ticks > 0:
        yield Finding(
            level=Level.WARNING,
            title="The control loop missed ticks",
            text=f"{counters.ticks_missed} of {ticks}.",
            remedy="docs/how-to/tune-motion.md: realtime_priority, cpu_affinity, and other work "
            "on the machine.",
            size=counters.ticks_missed / ticks / MISSED_SHARE,
        )
    if counters.stalls:
        yield Finding(
            level=Level.WARNING,
            title="The control loop stood still",
            text=f"{counters.stalls} times, {counters.stalled_s:.2f} s in all.",
            remedy="The process was not run: look at the load of the machine.",
        )
    if counters.limiter_hits > LIMITED_SHARE * counters.commands > 0:
        yield Finding(
            level=Level.WARNING,
            title="Limits changed many commands",
            text=f"{counters.limiter_hits} values in {counters.commands} commands.",
            remedy="Check action_rate_hz and scale first; then the limits of the robot.",
            size=counters.limiter_hits / counters.commands / LIMITED_SHARE,
        )
    if counters.chunk_publishers > 1:
        yield Finding(
            level=Level.BAD,
            title="Several nodes publish chunks",
            text=f"Up to {counters.chunk_publishers} at once.",
            remedy="Run one policy node in a namespace.",
        )


def _policy(measured: Measurements) -> Iterator[Finding]:
    run = measured.run
    if run.counters.inference_errors:
        yield Finding(
            level=Level.WARNING,
            title="The policy failed",
            text=f"{run.counters.inference_errors} calls failed, timed out, or were rejected.",
            remedy="docs/how-to/troubleshoot.md, The server does not answer.",
            size=run.counters.inference_errors / max(1, len(run.chunks)) / PAUSED_SHARE,
        )
    if run.counters.inferences_skipped:
        reasons = f" {_longest(run.policy_reasons)}" if run.policy_reasons else ""
        yield Finding(
            level=Level.WARNING,
            title="Inference was skipped",
            text=f"{run.counters.inferences_skipped} times, for want of an observation.{reasons}",
            remedy="Check the stream that the reason names: its topic, stamps and rate.",
            size=run.counters.inferences_skipped / max(1, len(run.chunks)),
        )


def _notes(measured: Measurements) -> Iterator[Finding]:
    for topic, count in measured.run.lost.items():
        yield Finding(
            level=Level.NOTE,
            title=f"The recorder lost messages of {topic}",
            text=f"{count}; the robot may have had them.",
            remedy="",
        )
    for note in measured.run.notes:
        yield Finding(level=Level.NOTE, title="Not all could be read", text=note, remedy="")


CHECKS: tuple[Callable[[Measurements], Iterator[Finding]], ...] = (
    *(_errors, _pauses, _late_chunks, _refused_chunks, _jitter, _latency, _controller),
    *(_rates, _loop, _policy, _notes),
)


def _gaps_s(run: Run) -> list[float]:
    """From the end of each chunk to the arrival of the next, s; negative where it is in time."""
    return [after.received_s - before.end_s for before, after in pairwise(run.played)]


def _durations(run: Run, *activities: Activity, since_s: float = -np.inf) -> dict[str, float]:
    """How long the node did such things, s, by reason."""
    durations: dict[str, float] = defaultdict(float)
    for phase in run.phases:
        if phase.activity in activities and phase.end_s > since_s:
            durations[phase.reason] += phase.duration_s
    return dict(durations)


def _longest(durations: dict[str, float]) -> str:
    """The three longest reasons, with their times."""
    longest = sorted(durations.items(), key=lambda entry: -entry[1])[:3]
    return "; ".join(f"{s:.1f} s: {reason or 'no reason given'}" for reason, s in longest)


def _worst(joints: tuple[str, ...], values: list[float]) -> str:
    known = [(v, name) for v, name in zip(values, joints, strict=True) if not np.isnan(v)]
    return max(known)[1] if known else "none"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms"
