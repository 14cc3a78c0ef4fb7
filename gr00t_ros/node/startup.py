# SPDX-License-Identifier: Apache-2.0
"""Starts the process of a node, and logs what is wrong with its arguments or files."""

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
        args: The arguments of the process; None for `sys.argv`.

    Returns:
        Whether rclpy is initialised; the log says what is wrong with the arguments.
    """
    arguments = sys.argv if args is None else list(args)
    files = files_in(arguments)
    problems = file_problems(files)
    if not problems:
        try:
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        except Exception as error:  # rclpy's exceptions differ between its versions
            problems = list(rejected_files(files, error))
    for problem in problems:
        get_logger("gr00t_ros").fatal(problem)
    return not problems


def file_problems(files: Sequence[Path]) -> list[str]:
    """A sentence for each file that cannot be read, and for each block that rcl would rename."""
    problems = [why for path in files if (why := why_unreadable(path))]
    return problems + [problem for path in files for problem in mangled_blocks(path)]


def log_unmatched_files(node: Node, args: Sequence[str] | None) -> None:
    """Log an error for each parameter file that has no parameters for the node."""
    files = files_in(sys.argv if args is None else args)
    for sentence in unmatched(files, node.get_fully_qualified_name(), node._parameter_overrides):
        node.get_logger().error(sentence)


def rejected_files(files: Sequence[Path], error: Exception) -> Iterator[str]:
    """Yield a sentence for the file that an error of rclpy names, or the text of the error."""
    text = str(error)
    found = [why_unreadable(path, text) for path in files if f"'{FLAG} {path}'" in text]
    yield from found or [f"ROS rejects the arguments of the process: {text}"]
