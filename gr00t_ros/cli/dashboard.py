# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy dashboard`: the robot in a browser."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import namespace, port, write_line
from gr00t_ros.dashboard.access import TOKEN_VARIABLE, new_token, token_problem

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def add_command(commands: Any) -> None:
    """Add `dashboard` to the subparsers of the program."""
    parser = commands.add_parser(
        "dashboard",
        help="show the robot in a browser",
        description="Serve a web page until Ctrl-C: cameras, joints, chunks and states, and "
        "buttons for the policy, the control node, tasks and the recorder. The page's address, "
        "which is printed once, holds a token; whoever has it can move the robot.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="the robot's YAML file"
    )
    parser.add_argument(
        "--namespace", type=namespace, default="", help="namespace of the nodes (default: none)"
    )
    parser.add_argument(
        "--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})"
    )
    parser.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help=f"TCP port, 0 for any free one (default: {DEFAULT_PORT})",
    )
    parser.add_argument(
        "--token",
        help=f"token of the address (default: a new one); the environment variable {TOKEN_VARIABLE}"
        " is safer, because other users see the command line in the process list",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until a signal."""
    token = args.token or os.environ.get(TOKEN_VARIABLE) or new_token()
    problem = token_problem(token)
    if problem:
        args.parser.error(problem)
    from gr00t_ros.node.offline_nodes import contract_of_file

    contract = contract_of_file(args.config.expanduser(), namespace=args.namespace)
    _use_large_image_profile()
    try:
        from gr00t_ros.dashboard.dashboard_server import DashboardServer
    except ImportError as error:
        raise ImportError(
            f"dashboard needs fastapi and uvicorn: run pip install fastapi uvicorn websockets "
            f"({error})"
        ) from None
    server = DashboardServer(
        contract, host=args.host, port=args.port, token=token, namespace=args.namespace
    )
    try:  # a signal may come before the server waits for one
        write_line(f"dashboard: {server.url}")
        if not _is_loopback(args.host):
            sys.stderr.write(
                f"gr00t-policy dashboard: listens on {args.host} without encryption: whoever reads "
                "along on the network learns the token and can move the robot\n"
            )
        server.run()
    finally:
        server.close()
    return 0


def _use_large_image_profile() -> None:
    from ament_index_python.packages import get_package_share_directory

    from gr00t_ros.node.process_environment import process_environment

    profile = Path(get_package_share_directory("gr00t_ros"), "config", "fastdds.xml")
    os.environ.update(process_environment(profile))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
