# SPDX-License-Identifier: Apache-2.0
"""make bench-motion: the closed loop under latency, by strategy; build/bench/motion.json, docs."""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

from bench import meta, motion_link, motion_report
from bench.motion_metrics import Row, summarize
from bench.motion_parts import STRATEGIES, Case, Strategy
from bench.motion_run import Recording, run_case
from bench.processes import ROOT
from bench.report import meta_report, say, write_result, write_section
from gr00t_ros.sim.feedback import FeedbackExpert
from gr00t_ros.sim.rendering import RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm

RESULT = ROOT / "build" / "bench" / "motion.json"
FOLDER = ROOT / "docs" / "benchmarks"
PAGE, PLOT = FOLDER / "motion.md", FOLDER / "motion.png"
LATENCIES_S = (0.0, 0.05, 0.1, 0.2, 0.35)
QUICK_LATENCIES_S = (0.0, 0.2, 0.35)
SEEDS, QUICK_SEEDS = 20, 3
PACKAGES = ("mujoco", "ruckig", "opencv-python-headless")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bench:
    """What a process runs episodes with."""

    arm: SimulatedArm
    expert: FeedbackExpert

    @classmethod
    def make(cls) -> Bench:
        arm = SimulatedArm()
        return cls(arm, FeedbackExpert(arm))


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
    yield from in_groups(run_all(_run, cases, jobs), seeds)


def run_all(run: Callable[[Case], Result], cases: Sequence[Case], jobs: int) -> Iterator[Result]:
    """The result of each case, in order, from `jobs` processes; `run` is a function of a module."""
    # Each process renders for itself: with more threads they would only wait for each other.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    # Not forked: OpenGL contexts and OpenCV's threads do not survive that.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run, cases, chunksize=2)


def in_groups(results: Iterable[Result], size: int) -> Iterator[list[Result]]:
    """The results in lists of `size`, each as soon as it is full."""
    group: list[Result] = []
    for result in results:
        group.append(result)
        if len(group) == size:
            yield group
            group = []


def _run(case: Case) -> Recording:
    bench = bench_of_this_process()
    return run_case(bench.arm, bench.expert, case)


@functools.cache
def bench_of_this_process() -> Bench:
    """What this process runs episodes with, made once."""
    return Bench.make()


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    options = parse_options(args, prog="python -m bench.motion", description=__doc__)
    try:
        Bench.make().arm.render("front")
    except RenderingUnavailableError as error:
        say(f"the expert needs pictures: {error}")
        return 1
    load_before = os.getloadavg()[0]
    latencies_s = QUICK_LATENCIES_S if options.quick else LATENCIES_S
    rows: list[Row] = []
    shown: list[Recording] = []
    for recordings in measure(STRATEGIES, latencies_s, options.seeds, options.jobs):
        rows.append(summarize(recordings))
        shown += recordings[:1]
        say(motion_report.progress(rows[-1]))
    about = describe(load_before, options)
    write_result(RESULT, about, [row.as_json() for row in rows])
    text = f"{meta_report(about)}\n\n{motion_report.report(rows)}"
    say(f"\n{text}\n")
    if not options.quick:
        # Here, because a quick look needs no matplotlib.
        from bench import motion_plot

        write_section("motion", text, PAGE)
        motion_plot.draw(rows, shown, PLOT)
    return 0


def describe(load_before: float, options: argparse.Namespace) -> dict[str, Any]:
    """What the measurement was made with; `load_before` is the load average before it."""
    about = {**meta.describe(load_before), "link": _link(), "quick": options.quick}
    about["versions"] |= dict(_versions())
    return about


def _link() -> dict[str, float]:
    return {
        "jitter": motion_link.JITTER,
        "spike_chance": motion_link.SPIKE_CHANCE,
        "spike_factor": motion_link.SPIKE,
        "drop_chance": motion_link.DROP_CHANCE,
        "timeout_s": motion_link.TIMEOUT_S,
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def parse_options(
    args: Sequence[str] | None, *, prog: str, description: str | None
) -> argparse.Namespace:
    """The options of a benchmark of motion: ``quick``, ``seeds`` and ``jobs``."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--quick", action="store_true", help="a minute's look, docs untouched")
    parser.add_argument("--seeds", type=int, help=f"episodes of each (default: {SEEDS})")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    options = parser.parse_args(args)
    if options.seeds is None:
        options.seeds = QUICK_SEEDS if options.quick else SEEDS
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
