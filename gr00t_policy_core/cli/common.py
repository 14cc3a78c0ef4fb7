# SPDX-License-Identifier: Apache-2.0
"""Flags, one-line errors and output that the commands share."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from gr00t_policy_core.errors import printable

TOKEN_VARIABLE = "GR00T_API_TOKEN"
DEFAULT_PORT = 5555
DEFAULT_TIMEOUT_MS = 5000
EXIT_USAGE = 2


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr that names its help.

    The namespace of a command has ``given``: the names of the arguments on its command line.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and reject unknown arguments.

        argparse itself leaves arguments that a command does not know to the parser of the program,
        whose error does not name the command.
        """
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if self._subparsers is None:
            parsed.given = self._given(args)
        return parsed, unknown

    def _given(self, args: Sequence[str] | None) -> frozenset[str]:
        """The names of the arguments on the command line: those that replace a mark as default."""
        mark: list[object] = []  # a list, because flags that may come again append to a copy
        marks = argparse.Namespace(**{action.dest: mark for action in self._actions})
        parsed, _ = super().parse_known_args(args, marks)
        return frozenset(name for name, value in vars(parsed).items() if value is not mark)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_server_flags(parser: argparse.ArgumentParser, host: str, host_help: str) -> None:
    """Add the flags for the address of a server, and for its token."""
    parser.add_argument("--host", default=host, help=f"{host_help} (default: {host})")
    parser.add_argument(
        "--port", type=port, default=DEFAULT_PORT, help=f"TCP port (default: {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--api-token",
        metavar="TOKEN",
        help=f"shared secret of server and clients; the environment variable {TOKEN_VARIABLE} is "
        f"safer, because other users see the command line in the process list",
    )


def add_key_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a client of a secured server."""
    parser.add_argument(
        "--server-key",
        metavar="KEY",
        help="public key of a server that was started with --secure: the text, or its file",
    )
    parser.add_argument(
        "--keys", metavar="FILE", help="this client's own NAME.key_secret, with --server-key"
    )


def add_timeout_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the time that a request may take."""
    parser.add_argument(
        "--timeout-ms",
        type=positive,
        default=DEFAULT_TIMEOUT_MS,
        help=f"timeout of each request, ms (default: {DEFAULT_TIMEOUT_MS})",
    )


def refuse_without_effect(args: argparse.Namespace, names: Iterable[str], because: str) -> None:
    """Exit with a usage error if the command line has flags without effect.

    Args:
        args: The arguments of a command, with its parser as ``parser``.
        names: The names of the arguments that have no effect.
        because: Why they have no effect, as the end of the error.
    """
    useless = [f"--{name.replace('_', '-')}" for name in sorted(args.given & set(names))]
    if useless:
        verb = "has" if len(useless) == 1 else "have"
        args.parser.error(f"{', '.join(useless)} {verb} no effect: {because}")


def device(text: str) -> str:
    """An argparse type: a device; ``1`` is the GPU ``cuda:1``."""
    return f"cuda:{text}" if text.isdecimal() else text


def api_token(args: argparse.Namespace) -> str | None:
    """The token of the command line or the environment; None if neither has one."""
    return args.api_token or os.environ.get(TOKEN_VARIABLE) or None


def image_size(text: str) -> tuple[int, int]:
    """An argparse type: height and width of an image in pixels, such as ``480x640``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be height x width in pixels, for example 480x640, got {text!r}"
        )
    return int(match[1]), int(match[2])


def write_line(text: str) -> None:
    """Write one line to stdout and flush it, because scripts wait for it; escape control codes."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()


def namespace(text: str) -> str:
    """An argparse type: a namespace of ROS nodes, such as ``/robot1``; empty for none."""
    if not re.fullmatch(r"/?|/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            "must be names of letters, digits and _, joined by /, such as /robot1 or /left/arm, "
            f"got {text!r}"
        )
    return text


def port(text: str) -> int:
    """An argparse type: a TCP port, 0 for any free one."""
    number = _integer(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text}")
    return number


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    number = _integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
