# SPDX-License-Identifier: Apache-2.0
"""make bench-control: how each control loop keeps its rate; build/bench/control.json, docs."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bench import control_report, meta
from bench.control_report import BUSY, CONTROL_NODE, FIFO, FLOOR, IDLE, TIMER, Row, summarize
from bench.processes import ROOT, Worker
from bench.report import meta_report, say, write_result, write_section
from bench.ros.robot import parameters
from gr00t_ros.node.dds_domain import reserve_domain
from gr00t_ros.node.process_environment import process_environment

RESULT = ROOT / "build" / "bench" / "control.json"
PAGE = ROOT / "docs" / "benchmarks" / "control-loop.md"
PROFILE = ROOT / "config" / "fastdds.xml"
LOOPS = (TIMER, CONTROL_NODE, FIFO, FLOOR)
REAL_TIME = (FIFO, FLOOR)
LOADS = (IDLE, BUSY)
RATES_HZ, QUICK_RATES_HZ = (50, 100, 200, 500), (50, 200)
SECONDS, QUICK_SECONDS = 10.0, 2.0
WARM_UP_S, QUICK_WARM_UP_S = 2.0, 1.0
ON_THE_WAY_S = 0.3  # for the last commands to arrive
TRIES = 10  # on a machine that is so busy that a loop gets no chunk within the time
PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Case:
    """One loop at one rate (Hz) under one load, and how long it is measured, s."""

    loop: str
    rate_hz: int
    load: str
    seconds: float
    warm_up_s: float

    def parameters(self, port: int) -> dict[str, Any]:
        """What the nodes are given; the busy policy is asked again as soon as it has answered."""
        return {
            **parameters(),
            "action.arm.type": "joint_state",
            "control_rate_hz": float(self.rate_hz),
            "replan_interval_s": 0.01,
            "realtime_priority": PRIORITY if self.loop in REAL_TIME else 0,
            "policy.port": port,
            "instruction": "pick up the apple",
            "autostart": True,
        }


def run_case(case: Case, env: Mapping[str, str]) -> Row:
    """Start the processes of a case, measure, and end them.

    Raises:
        RuntimeError: A process has ended, or no chunk came while it was measured `TRIES` times, so
            that nothing was played.
    """
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        started: list[Worker] = []

        def start(module: str, *arguments: str) -> Worker:
            started.append(stack.enter_context(Worker(module, *arguments, env=env)))
            return started[-1]

        is_timer, is_busy = case.loop == TIMER, case.load == BUSY
        feed = [] if is_timer or is_busy else ["--feed"]
        has_chunks = case.loop != FLOOR and (is_busy or not is_timer)
        awaited = ["--await-chunk"] if has_chunks else []
        probe = (
            start("bench.bare_loop", str(case.rate_hz), str(PRIORITY))
            if case.loop == FLOOR
            else start("bench.ros.command_probe", *feed, *awaited)
        )
        port = 1
        if is_busy:
            start("bench.ros.publisher").read()
            if not is_timer:
                port = start("bench.busy_policy").read()
        file = Path(folder) / "parameters.yaml"
        # JSON is YAML.
        file.write_text(json.dumps({"/**": {"ros__parameters": case.parameters(port)}}))
        if is_busy and not is_timer:
            start("bench.ros.node", "policy_node", str(file))
        if case.loop != FLOOR:
            start("bench.ros.node", TIMER if is_timer else CONTROL_NODE, str(file))
        probe.read(needed=started)
        time.sleep(case.warm_up_s)
        for _ in range(TRIES):
            begun_ns = probe.ask("begin")["now_ns"]
            time.sleep(case.seconds + ON_THE_WAY_S)
            found = probe.ask("end")
            if found["chunks"] or not has_chunks:
                break
        else:
            raise RuntimeError(f"{case}: no chunk came")
    return summarize(
        found["stamps_ns"],
        loop=case.loop,
        rate_hz=case.rate_hz,
        load=case.load,
        begun_ns=begun_ns,
        seconds=case.seconds,
        chunks=found["chunks"],
    )


def measure(cases: Sequence[Case]) -> Iterator[Row]:
    """All cases one after the other, in a DDS domain of their own."""
    domain, reservation = reserve_domain()
    with reservation:
        env = {
            **os.environ,
            **process_environment(PROFILE),
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        for case in cases:
            yield run_case(case, env)


def realtime_refusal() -> str | None:
    """Why the system refuses SCHED_FIFO to a thread of ours, or None."""
    refusals: list[str] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except (OSError, AttributeError) as error:
            refusals.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return refusals[0] if refusals else None


def make_cases(*, quick: bool, with_fifo: bool) -> list[Case]:
    """Every loop, one after the other at the same rate and load, so that they meet the same."""
    rates_hz = QUICK_RATES_HZ if quick else RATES_HZ
    loops = [loop for loop in LOOPS if with_fifo or loop not in REAL_TIME]
    seconds, warm_up_s = (QUICK_SECONDS, QUICK_WARM_UP_S) if quick else (SECONDS, WARM_UP_S)
    return [
        Case(loop, rate_hz, load, seconds, warm_up_s)
        for load, rate_hz, loop in product(LOADS, rates_hz, loops)
    ]


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    options = _options(args)
    refusal = realtime_refusal()
    if refusal is not None:
        say(f"{FIFO}: skipped, real-time scheduling is refused: {refusal}")
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    for row in measure(make_cases(quick=options.quick, with_fifo=refusal is None)):
        rows.append(row)
        say(control_report.progress(row))
    about = {
        **meta.describe(load_before),
        "quick": options.quick,
        "realtime_priority": PRIORITY if refusal is None else None,
        "realtime_refusal": refusal,
    }
    write_result(RESULT, about, [row.as_json() for row in rows])
    text = f"{meta_report(about)}\n\n{control_report.report(rows)}"
    say(f"\n{text}\n")
    if not options.quick:
        write_section("control", text, PAGE)
    return 0


def _options(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.control", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two rates for 2 s each, docs untouched"
    )
    return parser.parse_args(args)


if __name__ == "__main__":
    raise SystemExit(main())
