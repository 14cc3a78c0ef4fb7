# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of motion share: options, episodes in several processes, what is kept."""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench import meta, motion_link
from bench.motion_parts import Case
from bench.processes import ROOT
from bench.report import meta_report, say, write_result
from gr00t_ros.sim.feedback import FeedbackExpert
from gr00t_ros.sim.rendering import RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm

PAGE = ROOT / "docs" / "benchmarks" / "motion.md"
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


class MeasuredRow(Protocol):
    """One row of what was measured."""

    def as_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        ...


def can_render() -> bool:
    """Whether the expert gets its pictures here; says why not."""
    try:
        Bench.make().arm.render("front")
    except RenderingUnavailableError as error:
        say(f"the expert needs pictures: {error}")
        return False
    return True


@functools.cache
def bench_of_this_process() -> Bench:
    """What this process runs episodes with, made once."""
    return Bench.make()


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


def keep(rows: Sequence[MeasuredRow], report: str, about: dict[str, Any], result: Path) -> str:
    """Write what was measured to a file, and show it; returns the text for the page.

    Args:
        rows: What was measured.
        report: The tables of the rows.
        about: What it was measured with.
        result: The JSON file.
    """
    write_result(result, about, [row.as_json() for row in rows])
    text = f"{meta_report(about)}\n\n{report}"
    say(f"\n{text}\n")
    return text


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
