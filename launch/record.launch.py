# SPDX-License-Identifier: Apache-2.0
"""The recorder of a robot's episodes: `recorder_node`.

ros2 launch gr00t_ros record.launch.py config:=my_robot.yaml
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch_ros.actions import LifecycleNode

from gr00t_ros.node.launch_arguments import (
    END_WITH_LAUNCH,
    LOG_LEVEL,
    NAMESPACE,
    USE_SIM_TIME,
    config_file,
    given_arguments,
    launch_description,
    node_arguments,
    parameter_overrides,
)

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of the robot"),
    ("folder", "", "folder of the episodes; empty: as in the config"),
    ("task", "", "what is demonstrated; empty: as in the config"),
    ("autostart", "true", "configure and activate automatically (true | false)"),
    NAMESPACE,
    USE_SIM_TIME,
    END_WITH_LAUNCH,
    LOG_LEVEL,
)


def make_nodes(context: LaunchContext) -> list[LifecycleNode]:
    """Make the node; the given arguments override the config."""
    given = given_arguments(context, ARGUMENTS)
    config, overrides = config_file(given), parameter_overrides(given)
    if given["folder"]:
        overrides["record.folder"] = given["folder"]
    if given["task"]:
        overrides["record.task"] = given["task"]
    return [
        LifecycleNode(**node_arguments("recorder_node", given), parameters=[str(config), overrides])
    ]


def generate_launch_description() -> LaunchDescription:
    return launch_description(ARGUMENTS, make_nodes, CONFIG)
