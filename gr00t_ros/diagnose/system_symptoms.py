# SPDX-License-Identifier: Apache-2.0
"""Symptoms around the motion: observations, topics, the control loop and the policy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gr00t_ros.diagnose.latency import OBSERVATION
from gr00t_ros.diagnose.rates import lost_chunks
from gr00t_ros.diagnose.reasons import longest_reasons
from gr00t_ros.diagnose.symptom import Level, Measurements, Symptom, in_ms

# From here on something is worth a warning, or is bad.
AGE_S, AGE_BAD_S = 0.15, 0.4
MISSING_SHARE, MISSING_SHARE_BAD = 0.02, 0.1
SKEW_S = 0.03
LIMITED_SHARE = 0.2  # of the commands, a limit changed one of its values
MISSED_SHARE = 0.01  # of the ticks
FAILED_SHARE = 0.02  # of the chunks


def old_observations(measured: Measurements) -> Iterator[Symptom]:
    """Observations that are old, from the future, or of different instants."""
    age = measured.latency.part(OBSERVATION)
    if age.p50_s > AGE_S:
        yield Symptom(
            level=Level.BAD if age.p50_s > AGE_BAD_S else Level.WARNING,
            title="Observations are old when they are sent",
            text=f"{in_ms(age.p50_s)} in the median, {in_ms(age.p99_s)} at the 99th percentile.",
            remedy="Look at the delay of each camera below: exposure, driver, DDS profile, and "
            "whether its clock is synchronised.",
            size=age.p50_s / AGE_S,
        )
    elif age.p50_s < 0.0:
        yield Symptom(
            level=Level.WARNING,
            title="Observations come from the future",
            text=f"They are sent {in_ms(-age.p50_s)} before their own stamp.",
            remedy="The clocks of two machines differ: run chrony or PTP on both.",
        )
    if measured.latency.skew.p50_s > SKEW_S:
        yield Symptom(
            level=Level.WARNING,
            title="The cameras are apart",
            text=f"{in_ms(measured.latency.skew.p50_s)} between their images in the median.",
            remedy="Trigger the cameras together, or give them the same rate.",
            size=measured.latency.skew.p50_s / SKEW_S,
        )


def missing_messages(measured: Measurements) -> Iterator[Symptom]:
    """Topics with gaps or below their rate, and lost chunks."""
    for rate in measured.rates:
        if rate.missing_share > MISSING_SHARE:
            yield Symptom(
                level=Level.BAD if rate.missing_share > MISSING_SHARE_BAD else Level.WARNING,
                title=f"{rate.name} has gaps",
                text=f"{rate.missing} of {rate.missing + rate.messages} messages are missing at "
                f"{rate.rate_hz:.1f} Hz, the longest gap is {rate.longest_gap_s:.2f} s.",
                remedy="docs/how-to/configure-cameras-and-dds.md: the Fast DDS profile, and the "
                "load of the machine.",
                size=rate.missing_share / MISSING_SHARE,
            )
    for name, (found_hz, expected_hz) in measured.run.slow_streams.items():
        yield Symptom(
            level=Level.WARNING,
            title=f"{name} is slow",
            text=f"{found_hz:.1f} Hz received by the policy node, {expected_hz:.1f} Hz expected.",
            remedy="Start the driver with the Fast DDS profile, and look at its own rate.",
            size=expected_hz / max(found_hz, 0.1),
        )
    lost = lost_chunks(measured.run)
    if lost:
        yield Symptom(
            level=Level.WARNING,
            title="Chunks were lost on the way",
            text=f"{lost} numbers are missing between those that were recorded.",
            remedy="Look at the load of the machine and its DDS settings.",
        )


def control_loop(measured: Measurements) -> Iterator[Symptom]:
    """A control loop that is late, stands still, or is at its limits."""
    counters = measured.run.counters
    ticks = counters.commands + counters.ticks_missed
    if counters.ticks_missed > MISSED_SHARE * ticks > 0:
        yield Symptom(
            level=Level.WARNING,
            title="The control loop missed ticks",
            text=f"{counters.ticks_missed} of {ticks}.",
            remedy="docs/how-to/tune-motion.md: realtime_priority, cpu_affinity, and other work "
            "on the machine.",
            size=counters.ticks_missed / ticks / MISSED_SHARE,
        )
    if counters.stalls:
        yield Symptom(
            level=Level.WARNING,
            title="The control loop stood still",
            text=f"{counters.stalls} times, {counters.stalled_s:.2f} s in all.",
            remedy="The process was not run: look at the load of the machine.",
        )
    if counters.limiter_hits > LIMITED_SHARE * counters.commands > 0:
        yield Symptom(
            level=Level.WARNING,
            title="Limits changed many commands",
            text=f"{counters.limiter_hits} values in {counters.commands} commands.",
            remedy="Check action_rate_hz and scale first; then the limits of the robot.",
            size=counters.limiter_hits / counters.commands / LIMITED_SHARE,
        )
    if counters.chunk_publishers > 1:
        yield Symptom(
            level=Level.BAD,
            title="Several nodes publish chunks",
            text=f"Up to {counters.chunk_publishers} at once.",
            remedy="Run one policy node in a namespace.",
        )


def policy_failures(measured: Measurements) -> Iterator[Symptom]:
    """Calls that failed, and inferences without an observation."""
    run = measured.run
    if run.counters.inference_errors:
        yield Symptom(
            level=Level.WARNING,
            title="The policy failed",
            text=f"{run.counters.inference_errors} calls failed, timed out, or were rejected.",
            remedy="docs/how-to/troubleshoot.md, The server does not answer.",
            size=run.counters.inference_errors / max(1, len(run.chunks)) / FAILED_SHARE,
        )
    if run.counters.inferences_skipped:
        reasons = f" {longest_reasons(run.policy_reasons)}" if run.policy_reasons else ""
        where = "the stream that the reason names" if reasons else "the streams"
        yield Symptom(
            level=Level.WARNING,
            title="Inference was skipped",
            text=f"{run.counters.inferences_skipped} times, for want of an observation.{reasons}",
            remedy=f"Check {where}: topic, stamps and rate.",
            size=run.counters.inferences_skipped / max(1, len(run.chunks)),
        )


def clock_jumps(measured: Measurements) -> Iterator[Symptom]:
    """A clock that was set while it was recorded."""
    for jump in measured.run.clock_jumps:
        at = f"After {jump.time_s - measured.run.begin_s:.1f} s"
        if jump.passed_s < 0.0:
            title, text = "The clock was set back", f"{at}, by {-jump.passed_s:.2f} s."
        else:
            title = "The clock was set forward, or nothing was recorded"
            text = f"{at}, for {jump.passed_s:.2f} s."
        yield Symptom(
            level=Level.WARNING,
            title=title,
            text=text,
            remedy="Let chrony slew the clock while the robot runs. The times of this report go on "
            "as if it had not been set.",
            size=abs(jump.passed_s),
        )


def notes(measured: Measurements) -> Iterator[Symptom]:
    """What the recorder lost, and what could not be read."""
    for topic, count in measured.run.lost.items():
        yield Symptom(
            level=Level.NOTE,
            title=f"The recorder lost messages of {topic}",
            text=f"{count}; the robot may have had them.",
            remedy="",
        )
    for note in measured.run.notes:
        yield Symptom(level=Level.NOTE, title="Not all could be read", text=note, remedy="")
