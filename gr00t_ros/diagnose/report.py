# SPDX-License-Identifier: Apache-2.0
"""The report of a diagnosis: JSON, one HTML page, and the verdict in lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gr00t_policy_core.html_page import HtmlPage
from gr00t_ros.diagnose.jitter import Jitter, measure_jitter, measure_joint_jitter
from gr00t_ros.diagnose.latency import measure_latency
from gr00t_ros.diagnose.plots import plot_arrivals, plot_joints
from gr00t_ros.diagnose.rates import measure_rates
from gr00t_ros.diagnose.run import Run
from gr00t_ros.diagnose.symptom import Level, Measurements, Symptom
from gr00t_ros.diagnose.takeovers import Takeover, find_takeovers
from gr00t_ros.diagnose.verdict import judge

MAX_PHASES = 100


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A run, measured and judged."""

    measured: Measurements
    takeovers: tuple[Takeover, ...]
    symptoms: tuple[Symptom, ...]

    @property
    def run(self) -> Run:
        """The run."""
        return self.measured.run

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain lists and dicts; NaN for what is not known."""
        run = self.run
        return {
            "run": run.source,
            "duration_s": run.end_s - run.begin_s,
            "verdict": [{**asdict(s), "level": s.level.name.lower()} for s in self.symptoms],
            "chunks": [
                {
                    "chunk_id": c.chunk_id,
                    "t0_s": c.t0_s,
                    "received_s": c.received_s,
                    "round_trip_s": c.round_trip_s,
                    "horizon": len(c.values),
                    "dt_s": c.dt_s,
                    "refused": c.refused,
                }
                for c in run.chunks
            ],
            "takeovers": [
                {"chunk_id": t.chunk_id, "time_s": t.time_s, "offsets": t.offsets.tolist()}
                for t in self.takeovers
            ],
            "phases": [{**asdict(p), "activity": p.activity.value} for p in run.phases],
            "jitter": asdict(self.measured.jitter),
            "joints": {
                name: {"jitter": asdict(jitter), "controller_lag": asdict(lag)}
                for name, jitter, lag in zip(
                    run.joints,
                    self.measured.joint_jitter,
                    self.measured.latency.controller_lags,
                    strict=True,
                )
            },
            "latency": asdict(self.measured.latency),
            "rates": [asdict(rate) for rate in self.measured.rates],
            "counters": asdict(run.counters),
        }

    def lines(self) -> Iterator[str]:
        """The verdict in lines, worst first."""
        run = self.run
        yield f"{run.source}: {run.end_s - run.begin_s:.1f} s, {len(run.chunks)} chunks"
        for symptom in self.symptoms:
            yield f"{symptom.level.name:7}  {symptom.title}: {symptom.text}"
            if symptom.remedy:
                yield f"{'':7}  -> {symptom.remedy}"
        if all(symptom.level is Level.NOTE for symptom in self.symptoms):
            yield "GOOD     Nothing is wrong with this run."

    def html(self) -> HtmlPage:
        """The report as a page."""
        run = self.run
        page = HtmlPage(
            "Diagnosis of a run",
            f"{run.source}, {run.end_s - run.begin_s:.1f} s, {len(run.chunks)} chunks",
        )
        page.heading("Verdict")
        entries = [(s.level.name.lower(), s.title, s.text, s.remedy) for s in self.symptoms]
        if all(symptom.level is Level.NOTE for symptom in self.symptoms):
            entries.insert(0, ("good", "Nothing is wrong with this run", "", ""))
        page.findings(entries)
        self._add_timeline(page)
        self._add_latency(page)
        self._add_jitter(page)
        self._add_rates(page)
        return page

    def _add_timeline(self, page: HtmlPage) -> None:
        run = self.run
        page.heading("Timeline")
        if run.joints:
            page.figure(
                plot_joints(run),
                "Chunks (thin, each up to the next), commands and measured positions, rad or m. "
                "Grey: holding; red: error; ticks at the top: a chunk arrives.",
            )
        if run.chunks:
            page.figure(
                plot_arrivals(run),
                "Each chunk from its observation to its end; the dot is its arrival. A gap between "
                "the end of one and the dot of the next is a pause.",
            )
        self._add_takeovers(page)
        page.heading("What the control node did", 3)
        page.table(
            ["from [s]", "to [s]", "activity", "reason"],
            [
                [p.begin_s - run.begin_s, p.end_s - run.begin_s, p.activity.value, p.reason]
                for p in run.phases[:MAX_PHASES]
            ],
        )
        if len(run.phases) > MAX_PHASES:
            page.paragraph(f"{len(run.phases) - MAX_PHASES} more are in the JSON file.")

    def _add_takeovers(self, page: HtmlPage) -> None:
        page.heading("Takeovers", 3)
        page.paragraph(
            f"{len(self.takeovers)} chunks arrived while another one was played. The blend takes "
            "away the distance between the two at that instant, rad or m:"
        )
        if not self.takeovers:
            return
        distances = np.abs([takeover.offsets for takeover in self.takeovers])
        p50, p95 = np.percentile(distances, [50, 95], axis=0)
        rows = zip(
            self.run.joints, p50.tolist(), p95.tolist(), distances.max(axis=0).tolist(), strict=True
        )
        page.table(["joint", "p50", "p95", "max"], rows)

    def _add_latency(self, page: HtmlPage) -> None:
        latency = self.measured.latency
        page.heading("Latency")
        parts = [*latency.parts, latency.arrival, latency.round_trip, latency.skew]
        rows = [[p.name, 1e3 * p.p50_s, 1e3 * p.p99_s, p.how] for p in parts]
        page.table(["part", "p50 [ms]", "p99 [ms]", "measured by"], rows)
        page.paragraph(
            f"Arrival, blending and controller add up to {1e3 * latency.total_s:.0f} ms in the "
            "median, from the observation to the motion, as far as they are known."
        )
        page.table(
            ["joint", "lag behind the command [ms]", "correlation"],
            [
                [name, 1e3 * lag.lag_s, lag.correlation]
                for name, lag in zip(self.run.joints, latency.controller_lags, strict=True)
            ],
        )

    def _add_jitter(self, page: HtmlPage) -> None:
        page.heading("Jitter")
        page.paragraph(
            "The three measures of NVIDIA's guide to real-world deployment (Isaac-GR00T, "
            "getting_started/real_world_deployment.md, section 6), for all joints together and for "
            "each: the mean acceleration within chunks (per step²), the jump from one chunk to the "
            "next, and how far the directions agree there (1: the same, -1: opposite)."
        )
        names = ["all joints", *self.run.joints]
        jitters: list[Jitter] = [self.measured.jitter, *self.measured.joint_jitter]
        page.table(
            ["joint", "acceleration", "boundary jump", "direction", "mean step"],
            [
                [name, j.acceleration, j.boundary_jump, j.direction_agreement, j.step]
                for name, j in zip(names, jitters, strict=True)
            ],
        )

    def _add_rates(self, page: HtmlPage) -> None:
        page.heading("Rates")
        page.table(
            ["topic", "messages", "rate [Hz]", "missing", "longest gap [s]", "delay p50 [ms]"],
            [
                [
                    *(r.name, r.messages, r.rate_hz, r.missing),
                    *(r.longest_gap_s, 1e3 * r.delay_p50_s),
                ]
                for r in self.measured.rates
            ],
        )


def diagnose(run: Run) -> Diagnosis:
    """Measure and judge a run."""
    measured = Measurements(
        run=run,
        jitter=measure_jitter(run.played),
        joint_jitter=tuple(measure_joint_jitter(run.played, j) for j in range(len(run.joints))),
        latency=measure_latency(run),
        rates=tuple(measure_rates(run)),
    )
    return Diagnosis(measured, tuple(find_takeovers(run)), tuple(judge(measured)))
