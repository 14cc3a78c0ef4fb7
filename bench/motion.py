# SPDX-License-Identifier: Apache-2.0
"""make bench-motion: the closed loop under latency, by strategy; build/bench/motion.json, docs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bench import motion_bench, motion_report
from bench.motion_metrics import Row, summarize
from bench.motion_parts import STRATEGIES, Case, Strategy
from bench.motion_run import Recording, run_case
from bench.processes import ROOT
from bench.report import say, write_section

RESULT = ROOT / "build" / "bench" / "motion.json"
PLOT = ROOT / "docs" / "benchmarks" / "motion.png"
LATENCIES_S = (0.0, 0.05, 0.1, 0.2, 0.35)
QUICK_LATENCIES_S = (0.0, 0.2, 0.35)


def measure(
    strategies: Sequence[Strategy], latencies_s: Sequence[float], seeds: int, jobs: int
) -> Iterator[list[Recording]]:
    """All episodes of one strategy at one latency after the other.

    Args:
        strategies: To compare.
        latencies_s: To inject, s.
        seeds: Episodes of each.
        jobs: Processes.
    """
    cases = [
        Case(strategy, latency_s, seed)
        for strategy in strategies
        for latency_s in latencies_s
        for seed in range(seeds)
    ]
    yield from motion_bench.in_groups(motion_bench.run_all(_run, cases, jobs), seeds)


def _run(case: Case) -> Recording:
    bench = motion_bench.bench_of_this_process()
    return run_case(bench.arm, bench.expert, case)


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    options = motion_bench.parse_options(args, prog="python -m bench.motion", description=__doc__)
    if not motion_bench.can_render():
        return 1
    load_before = os.getloadavg()[0]
    latencies_s = QUICK_LATENCIES_S if options.quick else LATENCIES_S
    rows: list[Row] = []
    shown: list[Recording] = []
    for recordings in measure(STRATEGIES, latencies_s, options.seeds, options.jobs):
        rows.append(summarize(recordings))
        shown += recordings[:1]
        say(motion_report.progress(rows[-1]))
    about = motion_bench.describe(load_before, options)
    text = motion_bench.keep(rows, motion_report.report(rows), about, RESULT)
    if not options.quick:
        # Here, because a quick look needs no matplotlib.
        from bench import motion_plot

        write_section("motion", text, motion_bench.PAGE)
        motion_plot.draw(rows, shown, PLOT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
