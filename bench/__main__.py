# SPDX-License-Identifier: Apache-2.0
"""make bench: writes build/bench/*.json, docs/benchmarks/round-trip.md and its plot."""

from __future__ import annotations

import argparse
import importlib
import os

from bench import meta, report, round_trip, transports
from bench.processes import MALLOC, ROOT
from bench.report import say, write_result
from bench.workload import Size

RESULTS = ROOT / "build" / "bench"
PLOT = ROOT / "docs" / "benchmarks" / "round-trip.png"
PARTS = ("server", "ros", "record")


def main() -> None:
    args = _arguments()
    parts = {"server": _measure_server, "ros": _measure_ros, "record": _measure_record}
    for part in args.parts or PARTS:
        parts[part](args)


def _measure_server(args: argparse.Namespace) -> None:
    paths = [name for name in args.paths or transports.TRANSPORTS if _is_there(name)]
    sizes = args.sizes or (round_trip.QUICK_SIZES if args.quick else round_trip.SIZES)
    load_before = os.getloadavg()[0]
    rows = round_trip.measure(paths, sizes, args.malloc or MALLOC, args.quick, say)
    about = meta.describe(load_before)
    turns = {size.label: round_trip.turns_for(size, args.quick) for size in sizes}
    about["round_trips"] = {label: turn.samples for label, turn in turns.items()}
    write_result(RESULTS / "server.json", about, [row.as_json() for row in rows])
    text = f"{report.meta_report(about)}\n\n{report.round_trip_report(rows)}"
    say(f"\n{text}\n")
    if _is_whole(args):
        # Here, because a quick look at one path needs no matplotlib.
        from bench import plot

        report.write_section("server", text)
        plot.draw(rows, PLOT)


def _measure_ros(args: argparse.Namespace) -> None:
    try:
        reception = importlib.import_module("bench.ros.reception")
        importlib.import_module("rclpy")
    except ImportError as error:
        say(f"ROS: skipped, {error}")
        return
    load_before = os.getloadavg()[0]
    rows = reception.measure(args.quick, say)
    about = meta.describe(load_before)
    write_result(RESULTS / "ros.json", about, rows)
    text = f"{report.meta_report(about)}\n\n{report.ros_report(rows)}"
    say(f"\n{text}\n")
    if _is_whole(args):
        report.write_section("ros", text)


def _measure_record(args: argparse.Namespace) -> None:
    try:
        record = importlib.import_module("bench.record")
        importlib.import_module("rclpy")
    except ImportError as error:
        say(f"recorder: skipped, {error}")
        return
    record.main([] if _is_whole(args) else ["--quick"])


def _is_whole(args: argparse.Namespace) -> bool:
    """Whether everything was measured in full, so that it may go into the docs."""
    return not (args.quick or args.paths or args.sizes or args.malloc)


def _is_there(name: str) -> bool:
    try:
        transports.find(name)
    except ImportError as error:
        say(f"{name}: skipped, {error}")
        return False
    return True


def _size(text: str) -> Size:
    return Size.parse(text.split("x"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure. A whole run also writes docs/benchmarks/round-trip.md and its plot.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)}; else all")
    parser.add_argument("--quick", action="store_true", help="less than a minute, docs untouched")
    parser.add_argument(
        "--paths", nargs="+", choices=transports.TRANSPORTS, help="server: only these ways"
    )
    parser.add_argument(
        "--sizes", nargs="+", type=_size, metavar="CxHxW", help="server: as in 2x480x640"
    )
    parser.add_argument("--malloc", nargs="+", choices=MALLOC, help="server: only this setting")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return args


if __name__ == "__main__":
    main()
