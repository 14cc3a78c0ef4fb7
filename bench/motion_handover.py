# SPDX-License-Identifier: Apache-2.0
"""make bench-motion: a person takes over and hands back; build/bench/handover.json, docs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bench import handover_metrics, motion_bench
from bench.handover_metrics import HandoverRow
from bench.handover_run import HandoverRecording, run_handover
from bench.motion_parts import STRATEGIES, Case
from bench.motion_report import DEFAULT
from bench.processes import ROOT
from bench.report import write_section

RESULT = ROOT / "build" / "bench" / "handover.json"
LATENCIES_S = (0.0, 0.1, 0.2)
QUICK_LATENCIES_S = (0.1,)


def measure(latencies_s: Sequence[float], seeds: int, jobs: int) -> Iterator[HandoverRow]:
    """The rows of each latency, over all seeds, with the default way to join chunks."""
    (strategy,) = (strategy for strategy in STRATEGIES if strategy.name == DEFAULT)
    cases = [Case(strategy, latency_s, seed) for latency_s in latencies_s for seed in range(seeds)]
    for recordings in motion_bench.in_groups(motion_bench.run_all(_run, cases, jobs), seeds):
        yield from handover_metrics.summarize(recordings)


def _run(case: Case) -> HandoverRecording:
    bench = motion_bench.bench_of_this_process()
    return run_handover(bench.arm, bench.expert, case)


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    options = motion_bench.parse_options(
        args, prog="python -m bench.motion_handover", description=__doc__
    )
    if not motion_bench.can_render():
        return 1
    load_before = os.getloadavg()[0]
    latencies_s = QUICK_LATENCIES_S if options.quick else LATENCIES_S
    rows = list(measure(latencies_s, options.seeds, options.jobs))
    about = motion_bench.describe(load_before, options)
    text = motion_bench.keep(rows, handover_metrics.report(rows), about, RESULT)
    if not options.quick:
        write_section("handover", text, motion_bench.PAGE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
