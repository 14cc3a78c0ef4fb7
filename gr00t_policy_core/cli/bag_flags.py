# SPDX-License-Identifier: Apache-2.0
"""The flags of commands that read bags: the robot, and where the action comes from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import namespace, positive

ACTION_SOURCES = ("command", "state")  # those of record.action_from, whose module needs ROS
BAG_FLAGS = (
    "config",
    "namespace",
    "task",
    "action_from",
    "action_lead_steps",
    "use_clock_topic",
)


def add_bag_flags(group: Any) -> None:
    """Add `BAG_FLAGS` to a parser, or to a group of its arguments."""
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the robot's YAML file (default: the one recorded in the bags)",
    )
    group.add_argument(
        "--namespace", type=namespace, default="", help="namespace of the robot (default: none)"
    )
    group.add_argument("--task", default="", help="task of bags that do not name theirs")
    group.add_argument(
        "--action-from",
        choices=ACTION_SOURCES,
        help="the demonstrated action: commands, or the measured state (default: "
        "record.action_from of the YAML file)",
    )
    group.add_argument(
        "--action-lead-steps",
        type=positive,
        metavar="N",
        help="steps by which the measured state is ahead (default: as in the YAML file)",
    )
    group.add_argument(
        "--use-clock-topic",
        action="store_true",
        help="take the time from the bag's /clock: for bags of a simulation that were recorded "
        "without --use-sim-time",
    )


def lead_steps(args: argparse.Namespace, recorded: int | None) -> int | None:
    """Steps by which the measured state is ahead; None where the action is what was commanded.

    Args:
        args: The arguments of the command, with its parser.
        recorded: The same of the YAML file.
    """
    source = args.action_from or ("command" if recorded is None else "state")
    if source == "command":
        if args.action_lead_steps is not None:
            args.parser.error("--action-lead-steps has no effect without --action-from state")
        return None
    steps: int = args.action_lead_steps or recorded or 1
    return steps
