# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy diagnose`: what happened in a run, and what is wrong with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import namespace, refuse_without_effect, write_line
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.html_page import require_matplotlib
from gr00t_policy_core.output_files import output_folder
from gr00t_policy_core.report_files import HTML_NAME, JSON_NAME, write_report

if TYPE_CHECKING:
    from gr00t_ros.diagnose.run import Run

RECORDING_SUFFIXES = (".jsonl", ".json")
MAX_NAMES = 5  # of the bags of a folder
DESCRIPTION = """\
Measure a run of the two nodes, and say what is wrong with it, worst first: pauses and their
reasons, NVIDIA's three measures of jitter, the latency from the camera to the joint, rates and
gaps. RUN is a bag with the topics of the nodes, or the recording that the control node writes to
record_path."""


def add_command(commands: Any) -> None:
    """Add `diagnose` to the subparsers of the program."""
    parser = commands.add_parser(
        "diagnose", help="say what is wrong with a run of the robot", description=DESCRIPTION
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("path", type=Path, metavar="RUN", help="a bag, or a recording (*.jsonl)")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the robot's YAML file, to compute the commands of a recording again",
    )
    parser.add_argument(
        "--namespace",
        type=namespace,
        default="",
        help="namespace of the nodes in the YAML file (default: none)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("diagnosis"),
        metavar="DIR",
        help=f"folder for {HTML_NAME} and {JSON_NAME} (default: diagnosis)",
    )


def run(args: argparse.Namespace) -> int:
    """Diagnose the run, write the report, and print the verdict."""
    require_matplotlib()
    from gr00t_ros.diagnose.report import diagnose

    with output_folder(args.output):
        diagnosis = diagnose(_read(args))
        write_report(args.output, diagnosis.html(), diagnosis.as_json())
    for line in diagnosis.lines():
        write_line(line)
    write_line(f"{args.output / HTML_NAME} and {JSON_NAME} have the details")
    return 0


def _read(args: argparse.Namespace) -> Run:
    if not args.path.exists():
        raise FileNotFoundError(f"{args.path}: no such file or folder")
    if args.path.suffix not in RECORDING_SUFFIXES:
        refuse_without_effect(args, ("config", "namespace"), "a bag says itself what it holds")
        return _read_bag(args.path)
    from gr00t_ros.diagnose.recording_run import read_recording

    if args.config is None:
        refuse_without_effect(args, ("namespace",), "there is no --config")
        return read_recording(args.path, None)
    from gr00t_ros.node.offline_nodes import contract_of_file

    return read_recording(args.path, contract_of_file(args.config, namespace=args.namespace))


def _read_bag(path: Path) -> Run:
    from gr00t_ros.bags.reader import find_bags
    from gr00t_ros.diagnose.bag_run import read_bag

    bags = find_bags([path])
    if len(bags) > 1:
        names = ", ".join(str(bag.relative_to(path)) for bag in bags[:MAX_NAMES])
        more = ", …" if len(bags) > MAX_NAMES else ""
        raise SpecError("which run?", [f"{path} has {len(bags)} bags, name one: {names}{more}"])
    return read_bag(bags[0])
