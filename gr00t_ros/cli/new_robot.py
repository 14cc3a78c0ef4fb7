# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy new-robot`: write a robot's YAML file from its running ROS graph and a policy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import (
    add_key_flags,
    add_server_flags,
    add_timeout_flag,
    write_line,
)
from gr00t_policy_core.cli.query import make_client
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.output_files import write_whole

if TYPE_CHECKING:
    from gr00t_ros.discovery.robot_graph import PolicyNeeds, RobotGraph

DEFAULT_LISTEN_S = 10.0


def add_command(commands: Any) -> None:
    """Add `new-robot` to the subparsers of the program."""
    parser = commands.add_parser(
        "new-robot",
        help="write a robot's YAML file from its ROS graph and a policy server",
        description="Write a robot's YAML file: listen to its ROS graph, ask a policy server for "
        "its keys, and match both by name and dimension. What could not be matched is a comment "
        "in the file; exit status 1 if there is any. Nothing moves.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("file", type=Path, help="the file to write")
    add_server_flags(parser, "localhost", "host of the policy server, or ipc:///path")
    add_key_flags(parser)
    add_timeout_flag(parser)
    parser.add_argument(
        "--action-rate-hz",
        type=float,
        required=True,
        metavar="HZ",
        help="the rate of the data that the policy was trained on; no policy says it",
    )
    parser.add_argument(
        "--listen-s",
        type=float,
        default=DEFAULT_LISTEN_S,
        metavar="S",
        help=f"longest time to listen to the robot (default: {DEFAULT_LISTEN_S:g} s)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if there is one")


def run(args: argparse.Namespace) -> int:
    """Write the file, and print what it lacks."""
    if args.action_rate_hz <= 0.0 or args.listen_s <= 0.0:
        args.parser.error("--action-rate-hz and --listen-s must be above 0")
    if args.file.exists() and not args.force:
        args.parser.error(f"{args.file} exists; --force replaces it")
    needs, graph = _needs(args), _graph(args.listen_s)
    unmatched = write(args, graph, needs)
    write_line(_seen(graph))
    for name in unmatched:
        write_line(f"not matched: {name}")
    problems = _problems(args.file)
    for problem in problems:
        write_line(f"problem: {problem}")
    write_line(
        f"{args.file}: written. Read all of it, then: "
        f"gr00t-policy check {args.file} --host {args.host} --port {args.port}"
    )
    return int(bool(unmatched or problems))


def write(args: argparse.Namespace, graph: RobotGraph, needs: PolicyNeeds) -> list[str]:
    """Write the file; return the names of the keys for which nothing was found."""
    from gr00t_ros.discovery.matching import match
    from gr00t_ros.discovery.robot_yaml import FileHead, robot_yaml

    proposal = match(graph, needs)
    head = FileHead(
        host=args.host,
        port=args.port,
        action_rate_hz=args.action_rate_hz,
        has_instruction=needs.has_instruction,
        descriptions=graph.descriptions,
        sliding_joints=graph.sliding_joints,
        server_key=_absolute(args.server_key),
        keys=_absolute(args.keys),
    )
    write_whole((args.file, robot_yaml(proposal, head)))
    return proposal.unmatched


def _needs(args: argparse.Namespace) -> PolicyNeeds:
    from gr00t_ros.discovery.robot_graph import PolicyNeeds

    with make_client(args) as client:
        return PolicyNeeds.of(client.get_modality_config(), client.get_dimensions())


def _absolute(key: str | None) -> str:
    """The file of a key from wherever the nodes are started; the text of a key as it is."""
    path = Path(key or "").expanduser()
    return str(path.absolute()) if path.is_file() else key or ""


def _graph(listen_s: float) -> RobotGraph:
    try:
        from gr00t_ros.discovery.graph_listener import listen
    except ImportError as error:
        raise ImportError(
            f"ROS 2 is needed to listen to a robot ({error}): source its setup.bash, and that of "
            "the workspace that holds gr00t_ros"
        ) from error
    return listen(listen_s)


def _problems(path: Path) -> list[str]:
    from gr00t_ros.node.offline_nodes import contract_of_file

    try:
        contract_of_file(path)
    except SpecError as error:
        return error.problems
    return []


def _seen(graph: RobotGraph) -> str:
    joints = {joint for names in graph.joint_states.values() for joint in names}
    return (
        f"the robot: {len(graph.cameras)} cameras, {len(joints)} measured joints, "
        f"{len(graph.commands)} command topics, "
        f"{'a' if graph.descriptions else 'no'} robot description"
    )
