# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy eval`: a policy's actions beside those of a recorded dataset."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli import extensions
from gr00t_policy_core.cli.bag_flags import BAG_FLAGS, add_bag_flags
from gr00t_policy_core.cli.common import positive, refuse_without_effect, write_line
from gr00t_policy_core.cli.policy_sources import add_policy_flags, open_policies
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.evaluation.evaluation import (
    PROBE_STEPS,
    EvaluationSettings,
    PolicyEvaluation,
    evaluate,
)
from gr00t_policy_core.evaluation.open_loop import EXECUTION_HORIZON, STEPS, OpenLoopSettings
from gr00t_policy_core.evaluation.recorded_dataset import RecordedDataset
from gr00t_policy_core.evaluation.report import Report
from gr00t_policy_core.html_page import require_matplotlib
from gr00t_policy_core.output_files import output_folder
from gr00t_policy_core.report_files import HTML_NAME, JSON_NAME, write_report

EPISODES = 5
DESCRIPTION = """\
Ask policies along recorded episodes, open loop as Isaac-GR00T's open_loop_eval.py does, and compare
their actions with the recorded ones. The episodes are those of a dataset, or bags that are played
to the policy node in simulated time. The report has the errors by key, joint and step of the chunk,
the latency, and known mistakes by name: units, signs, shifts, swapped joints and cameras. It is one
HTML page and one JSON file."""


def add_command(commands: Any) -> None:
    """Add `eval` to the subparsers of the program."""
    parser = commands.add_parser(
        "eval", help="compare policies with a recorded dataset", description=DESCRIPTION
    )
    parser.set_defaults(run=run, parser=parser)
    recordings = parser.add_mutually_exclusive_group(required=True)
    recordings.add_argument("--dataset", metavar="DIR", help="LeRobot v2.0, v2.1 or v3.0 dataset")
    recordings.add_argument(
        "--through-nodes",
        type=Path,
        nargs="+",
        metavar="BAG",
        help="bags, or folders with bags below them, which are played to the policy node; needs "
        "ROS 2",
    )
    parser.add_argument(
        "--episodes",
        type=_episode,
        nargs="+",
        metavar="INDEX",
        help=f"episodes to compare (default: the first {EPISODES})",
    )
    parser.add_argument(
        "--steps",
        type=positive,
        default=STEPS,
        help=f"steps of each episode, or of each bag, at most (default: {STEPS})",
    )
    parser.add_argument(
        "--execution-horizon",
        type=positive,
        metavar="STEPS",
        help="steps from one observation to the next (default: "
        f"{EXECUTION_HORIZON}, or the chunk's length where that is less)",
    )
    parser.add_argument(
        "--action-keys", nargs="+", metavar="KEY", help="action keys to compare (default: all)"
    )
    parser.add_argument(
        "--probe-steps",
        type=_count,
        default=PROBE_STEPS,
        metavar="STEPS",
        help="steps at which the policy is asked again with two cameras or two states exchanged; 0 "
        f"for none (default: {PROBE_STEPS})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help=f"folder for {HTML_NAME} and {JSON_NAME} (default: evaluation)",
    )
    bags = parser.add_argument_group("with --through-nodes")
    add_bag_flags(bags)
    add_policy_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate the policies, write the report, and print the result in a few lines."""
    require_matplotlib()
    if args.through_nodes is None:
        refuse_without_effect(args, BAG_FLAGS, "there is no --through-nodes")
        evaluate_all = _on_dataset
    else:
        refuse_without_effect(args, ["episodes"], "name the bags themselves")
        evaluate_all = extensions.through_nodes().evaluate
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    with output_folder(args.output):
        report = evaluate_all(args)
        for line in report.lines():
            write_line(line)
        write_report(args.output, report.html(), report.as_json())
    write_line(f"{args.output / HTML_NAME} and {JSON_NAME} have the details")
    return 0


def _on_dataset(args: argparse.Namespace) -> Report:
    dataset = RecordedDataset(args.dataset)
    settings = EvaluationSettings(
        episodes=dataset.chosen(args.episodes, EPISODES),
        open_loop=OpenLoopSettings(args.steps, args.execution_horizon, args.action_keys),
        probe_steps=args.probe_steps,
    )
    with ExitStack() as stack:
        policies = [
            evaluate(source.name, policy, dataset, dataset.names_of, settings)
            for source, policy in open_policies(args, stack)
        ]
    return compared(str(dataset.path), policies)


def compared(recordings: str, policies: Sequence[PolicyEvaluation]) -> Report:
    """The report of policies that were evaluated on the same recordings.

    Raises:
        SpecError: They have not the same action keys, or not the same episodes.
    """
    if len({tuple(policy.names) for policy in policies}) > 1:
        keys = "; ".join(f"{policy.name} has {list(policy.names)}" for policy in policies)
        raise SpecError("cannot compare the policies", [f"{keys}: choose some with --action-keys"])
    episodes = {policy.name: [result.name for result in policy.episodes] for policy in policies}
    if len({tuple(names) for names in episodes.values()}) > 1:
        answered = "; ".join(f"{name} answered in {found}" for name, found in episodes.items())
        raise SpecError("cannot compare the policies", [answered])
    return Report(recordings, tuple(policies))


def _episode(text: str) -> int:
    return _integer(text, "an episode index")


def _count(text: str) -> int:
    return _integer(text, "a number of steps")


def _integer(text: str, what: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be {what}, 0 or more, got {text!r}")
    return int(text)
