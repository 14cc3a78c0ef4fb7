# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy run`: have a robot do a task, and tell how it ended."""

from __future__ import annotations

import argparse
from typing import Any

from gr00t_policy_core.cli.common import namespace, refuse_without_effect

DESCRIPTION = """\
Have a robot do what an instruction says, until an ender, the time limit or Ctrl-C ends it. The
command needs task_node beside policy_node and control_node. It shows the progress, then how the
task ended and whether it succeeded. Exit status: 0 if an ender ended it and it did not fail, 1 if
it ended otherwise, 130 after Ctrl-C, once the robot is at rest. A second Ctrl-C does not wait for
that; the exit status is then 1."""

ENDER_HELP = """\
what ends the task, a type and its settings: "joint: {joint: gripper, below: 0.013, for_s: 0.5}";
may be given several times (default: the enders of the node)"""


def add_command(commands: Any) -> None:
    """Add `run` to the subparsers of the program."""
    parser = commands.add_parser("run", help="have a robot do a task", description=DESCRIPTION)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "instruction", nargs="?", metavar="INSTRUCTION", help="what the robot is to do"
    )
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="YAML file with the goal instead of an instruction, for several instructions in order",
    )
    parser.add_argument("--ender", action="append", default=[], metavar="ENDER", help=ENDER_HELP)
    parser.add_argument(
        "--all-enders",
        action="store_true",
        help="end when all enders are satisfied together (default: when the first one is)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="longest duration (default: that of the node)",
    )
    parser.add_argument(
        "--policy",
        default="",
        metavar="SETTINGS",
        help='parameters policy.… of the policy node for this task: "{host: gpu-box, port: 5556}"',
    )
    parser.add_argument(
        "--namespace",
        type=namespace,
        default="",
        help="namespace of the robot's nodes (default: none)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the task to its end."""
    if (args.instruction is None) == (args.file is None):
        args.parser.error("give either an instruction or --file")
    if args.file is not None:
        refuse_without_effect(args, ["ender", "all_enders"], "--file has the enders")
    try:
        from gr00t_ros.task.task_client import run_task
        from gr00t_ros.task.task_file import goal_from_file, goal_from_text
    except ImportError as error:
        raise ImportError(f"run needs ROS 2 and the built package gr00t_ros ({error})") from error
    try:
        if args.file is not None:
            goal = goal_from_file(args.file)
        else:
            goal = goal_from_text(args.instruction, args.ender, args.policy)
    except ValueError as error:
        args.parser.error(str(error))
    if args.all_enders:
        goal.combine = "all"
    goal.time_limit_s = args.time_limit or goal.time_limit_s
    goal.policy = args.policy or goal.policy
    return run_task(goal, namespace=args.namespace)
