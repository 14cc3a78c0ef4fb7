# SPDX-License-Identifier: Apache-2.0
"""The recorder of a robot's episodes: `recorder_node`.

ros2 launch gr00t_ros record.launch.py config:=my_robot.yaml
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from gr00t_ros.contract.parameter_files import mangled_blocks, why_unreadable
from gr00t_ros.node.process_environment import process_environment

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of the robot"),
    ("folder", "", "folder of the episodes; empty: as in the config"),
    ("task", "", "what is demonstrated; empty: as in the config"),
    ("autostart", "true", "configure and activate automatically (true | false)"),
    ("namespace", "", "namespace of the node and of its relative topics"),
    ("use_sim_time", "false", "take the time from /clock (true | false)"),
    (
        "end_with_launch",
        "true",
        "the node ends when this launch does (true | false)",
    ),
    ("log_level", "info", "debug | info | warn | error"),
)
# An episode that has just ended is brought to the disk: launch waits that long before it kills.
SAVE_S = "60"


def make_nodes(context: LaunchContext) -> list[LifecycleNode]:
    """Make the node; the given arguments override the config."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    config = Path(given["config"]).expanduser()
    if not config.is_file():
        raise FileNotFoundError(f"config:={config}: there is no such file")
    unreadable = why_unreadable(config) or "; ".join(mangled_blocks(config))
    if unreadable:
        raise ValueError(f"config:={unreadable}")
    overrides = {
        "autostart": _flag("autostart", given["autostart"]),
        "use_sim_time": _flag("use_sim_time", given["use_sim_time"]),
    }
    if _flag("end_with_launch", given["end_with_launch"]):
        overrides["end_with_pid"] = os.getpid()
    if given["folder"]:
        overrides["record.folder"] = given["folder"]
    if given["task"]:
        overrides["record.task"] = given["task"]
    return [
        LifecycleNode(
            package="gr00t_ros",
            executable="recorder_node",
            name="recorder_node",
            namespace=given["namespace"],
            parameters=[str(config), overrides],
            ros_arguments=["--log-level", f"recorder_node:={given['log_level']}"],
            output="screen",
            sigterm_timeout=SAVE_S,
            sigkill_timeout=SAVE_S,
        )
    ]


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name}:={text}: must be true or false")
    return text.lower() == "true"


def generate_launch_description() -> LaunchDescription:
    environment = process_environment(CONFIG / "fastdds.xml")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=make_nodes),
        ]
    )
