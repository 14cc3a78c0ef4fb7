# SPDX-License-Identifier: Apache-2.0
"""The robot of the bags that a command line names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gr00t_policy_core.cli.common import refuse_without_effect

if TYPE_CHECKING:
    from gr00t_ros.convert.robot import Robot


def robot_of(args: argparse.Namespace, bags: Sequence[Path]) -> Robot:
    """The robot of --config, or the one that was recorded with the bags.

    Args:
        args: The arguments of the command, with its parser.
        bags: The bags.

    Raises:
        SpecError: The YAML file is wrong, or the bags do not say which robot it was.
        ImportError: The messages of ROS 2 are not there.
    """
    try:
        from gr00t_ros.convert.robot import recorded_robot, robot_of_file
    except ImportError as error:
        raise ImportError(
            f"the messages of ROS 2 are needed to read bags ({error}): source its setup.bash, "
            "and that of the workspace that holds gr00t_ros"
        ) from error
    if args.config is not None:
        return robot_of_file(args.config, namespace=args.namespace)
    refuse_without_effect(args, ["namespace"], "the bags name their topics in full")
    return recorded_robot(bags)
