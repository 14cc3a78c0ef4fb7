# SPDX-License-Identifier: Apache-2.0
"""The command `gr00t-policy`: serve a policy, query a server, measure and examine models.

Exit status: 0 success, 1 failure (one line on stderr says why), 2 usage error, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import sys
from collections.abc import Sequence

from gr00t_policy_core import malloc
from gr00t_policy_core.cli import (
    bench,
    doctor,
    evaluate,
    extensions,
    keys,
    output,
    query,
    serve,
    top,
)
from gr00t_policy_core.cli.common import OneLineParser
from gr00t_policy_core.errors import PolicyError, printable

PROGRAM = "gr00t-policy"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name. None takes those of the process; `serve` may
            then restart the process to configure malloc.

    Returns:
        The exit status.
    """
    if argv is None:
        output.reopen_closed_streams()
    args = make_parser().parse_args(argv)
    if argv is None and getattr(args, "malloc_tuning", False):
        malloc.restart_tuned()
    try:
        return int(args.run(args))
    except BrokenPipeError:  # as with `| head`: the reader has read enough
        output.abandon_stdout()
        return EXIT_FAILED
    except (PolicyError, ImportError, OSError) as error:
        text = printable(" ".join(_reason(error).split()))
        if argv is None:
            logging.shutdown()  # writes what the log still holds, so that the reason comes last
            output.write_error(f"{PROGRAM} {args.command}: {text}")
            output.abandon_stdout()
        else:
            sys.stderr.write(f"{PROGRAM} {args.command}: {text}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line, a subparser for each command."""
    parser = OneLineParser(
        prog=PROGRAM, description="Serve a GR00T policy, query a server, or examine a model."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve.add_command(commands)
    query.add_commands(commands)
    keys.add_command(commands)
    top.add_command(commands)
    bench.add_command(commands)
    evaluate.add_command(commands)
    doctor.add_command(commands)
    extensions.add_commands(commands)
    return parser


def _reason(error: Exception) -> str:
    """The text of an error; of one of the operating system, the file and what is wrong with it."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _version() -> str:
    try:
        return importlib.metadata.version("gr00t_policy_core")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed, run from its source)"
