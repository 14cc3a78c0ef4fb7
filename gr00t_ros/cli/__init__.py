# SPDX-License-Identifier: Apache-2.0
"""The commands of `gr00t-policy` that need ROS 2, one module each.

A module has `add_command(commands)`, which adds its subparser, and imports rclpy and messages only
when its command runs.
"""

from __future__ import annotations

from typing import Any

from gr00t_ros.cli import check, convert, dashboard, diagnose, new_robot, record, run, watch


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of `gr00t-policy`."""
    run.add_command(commands)
    dashboard.add_command(commands)
    record.add_command(commands)
    convert.add_command(commands)
    diagnose.add_command(commands)
    watch.add_command(commands)
    check.add_command(commands)
    new_robot.add_command(commands)
