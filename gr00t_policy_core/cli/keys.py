# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy keys`: make the keys of a secured server and its clients."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import write_line
from gr00t_policy_core.serving.transport.curve_keys import write_keys

DESCRIPTION = """\
Make CURVE keys: a pair for the server and one for each client, readable by their owner alone.
What is there already stays as it is, so that clients can be added later; a server reads the list
when it starts."""


def add_command(commands: Any) -> None:
    """Add `keys` to the subparsers of the program."""
    parser = commands.add_parser(
        "keys", help="make the keys for encrypted connections", description=DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", metavar="DIR", help="where the keys are, or will be")
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME",
        help="a client to admit; may be given several times (default: one named client)",
    )


def run(args: argparse.Namespace) -> int:
    """Make what is missing, and say what each file is for."""
    folder = Path(args.folder)
    names = args.client or ["client"]
    made = write_keys(folder, names)
    for path in made:
        write_line(f"made        {path}")
    if not made:
        write_line(f"nothing new in {folder}")
    write_line(f"server      gr00t-policy serve --secure {folder} …")
    for name in names:
        write_line(
            f"{name:<11} needs copies of {folder / 'server.key'} and {folder / name}.key_secret: "
            "PolicyClient(server_key=…, keys=…)"
        )
    return 0
