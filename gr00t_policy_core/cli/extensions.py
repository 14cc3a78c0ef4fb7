# SPDX-License-Identifier: Apache-2.0
"""Commands that other packages add to `gr00t-policy`, where they are installed."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

# Modules with a function `add_commands(commands)`. They need what this package does not: ROS 2.
EXTENSIONS = ("gr00t_ros.cli",)
# What `eval --through-nodes` runs: a function `evaluate(args)` that returns the report.
THROUGH_NODES = "gr00t_ros.cli.through_nodes"


def add_commands(commands: Any) -> None:
    """Add the commands of the extensions that this Python finds to the subparsers of the program.

    The core imports no ROS code, so the modules are looked up by name. They import ROS 2 only when
    a command runs, so that the other commands start as fast without it.
    """
    for name in EXTENSIONS:
        if is_installed(name):
            importlib.import_module(name).add_commands(commands)


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
