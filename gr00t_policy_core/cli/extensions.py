# SPDX-License-Identifier: Apache-2.0
"""Commands that other packages add to `gr00t-policy`, where they are installed."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from functools import partial
from types import ModuleType
from typing import Any

# Modules with a function `add_commands(commands)`, and the commands that it adds. They need what
# this package does not: ROS 2.
EXTENSIONS = {
    "gr00t_ros.cli": (
        *("run", "dashboard", "record", "convert"),
        *("diagnose", "watch", "check", "new-robot"),
    )
}
# What `eval --through-nodes` runs: a function `evaluate(args)` that returns the report.
THROUGH_NODES = "gr00t_ros.cli.through_nodes"


def add_commands(commands: Any) -> None:
    """Add the commands of the extensions that this Python finds to the subparsers of the program.

    The core imports no ROS code, so the modules are looked up by name. They import ROS 2 only when
    a command runs, so that the other commands start as fast without it. The commands of an
    extension that is not there say so.
    """
    for module, names in EXTENSIONS.items():
        if is_installed(module):
            importlib.import_module(module).add_commands(commands)
            continue
        package = module.partition(".")[0]
        for name in names:
            # Without a help text it is not listed, and without a prefix all it is given is taken.
            command = commands.add_parser(name, add_help=False, prefix_chars="\0")
            command.add_argument("arguments", nargs="*")
            command.set_defaults(run=partial(_refuse, package), parser=command)


def _refuse(package: str, args: argparse.Namespace) -> int:
    raise ImportError(
        f"{args.command} is a command of {package}: source the workspace that holds it"
    )


def through_nodes() -> ModuleType:
    """The module that evaluates through the nodes.

    Raises:
        ImportError: ROS 2 or the built package is not there; the text says so.
    """
    try:
        return importlib.import_module(THROUGH_NODES)
    except ImportError as error:
        raise ImportError(
            f"--through-nodes needs ROS 2 and the built package gr00t_ros ({error})"
        ) from error


def is_installed(name: str) -> bool:
    """Whether this Python finds the module, without importing it (its package is imported)."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package itself is missing
        return False
