# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy keys`: generate the keys of a secured server and its clients."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import write_line
from gr00t_policy_core.serving.transport.curve_keys import write_keys

DESCRIPTION = """\
Generate CURVE keys: one pair for the server and one for each client, readable by their owner only.
Existing keys do not change, so clients can be added later. A server reads the list of clients when
it starts."""


def add_command(commands: Any) -> None:
    """Add `keys` to the subparsers of the program."""
    parser = commands.add_parser(
        "keys", help="generate the keys of encrypted connections", description=DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", metavar="DIR", help="folder of the keys")
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME",
        help="name of a client to admit; may be repeated (default: client)",
    )


def run(args: argparse.Namespace) -> int:
    """Generate missing keys, and print the purpose of each file."""
    folder = Path(args.folder)
    names = args.client or ["client"]
    written = write_keys(folder, names)
    for path in written:
        write_line(f"written     {path}")
    if not written:
        write_line(f"nothing new in {folder}")
    write_line(f"server      gr00t-policy serve --secure {folder} …")
    for name in names:
        write_line(
            f"{name:<11} needs copies of {folder / 'server.key'} and {folder / name}.key_secret: "
            "PolicyClient(server_key=…, keys=…)"
        )
    return 0
