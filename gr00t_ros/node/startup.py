# SPDX-License-Identifier: Apache-2.0
"""How a node's process starts, and what is said where its arguments or files are wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import rclpy
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from gr00t_ros.contract.parameter_files import (
    FLAG,
    files_in,
    mangled_blocks,
    unmatched,
    why_unreadable,
)


def init_ros(args: Sequence[str] | None) -> bool:
    """Initialise rclpy without its signal handlers.

    Args:
        args: The arguments of the process, None for its own.

    Returns:
        Whether it is; the log says what is wrong with the arguments.
    """
    arguments = sys.argv if args is None else list(args)
    files = files_in(arguments)
    problems = [why for path in files if (why := why_unreadable(path))]
    problems += [problem for path in files for problem in mangled_blocks(path)]
    if not problems:
        try:
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        except Exception as error:  # rclpy's kinds differ between its versions
            problems = list(_refused(files, error))
    for problem in problems:
        get_logger("gr00t_ros").fatal(problem)
    return not problems


def tell_of_unmatched_files(node: Node, args: Sequence[str] | None) -> None:
    """Log an error for each parameter file in which nothing is for the node."""
    files = files_in(sys.argv if args is None else args)
    for sentence in unmatched(files, node.get_fully_qualified_name(), node._parameter_overrides):
        node.get_logger().error(sentence)


def _refused(files: Sequence[Path], error: Exception) -> Iterator[str]:
    """One sentence for the file that rclpy names, or for what else it says."""
    told = str(error)
    found = [why_unreadable(path, told) for path in files if f"'{FLAG} {path}'" in told]
    yield from found or [f"ROS refuses the arguments of the process: {told}"]
