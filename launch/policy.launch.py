# SPDX-License-Identifier: Apache-2.0
"""The nodes of a robot driven by a policy: `policy_node`, `control_node` and `task_node`.

ros2 launch gr00t_ros policy.launch.py config:=my_robot.yaml host:=gpu-box
"""

import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from gr00t_ros.contract.parameter_files import mangled_blocks, why_unreadable
from gr00t_ros.node.process_environment import process_environment

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")
NODES = ("policy_node", "control_node")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of both nodes"),
    ("host", "", "host of the policy server, or several: a,b:5556; empty: as in the config"),
    ("port", "", "TCP port of the policy server; empty: as in the config"),
    ("instruction", "", "instruction for the policy; empty: as in the config"),
    ("autostart", "true", "configure, activate and start automatically (true | false)"),
    ("task", "true", "start task_node, too, which runs tasks (true | false)"),
    ("namespace", "", "namespace of both nodes and of their relative topics"),
    ("use_sim_time", "false", "take the time from /clock (true | false)"),
    (
        "end_with_launch",
        "true",
        "the nodes come to rest and end when this launch ends for any reason (true | false)",
    ),
    ("log_level", "info", "debug | info | warn | error"),
)


def make_nodes(context: LaunchContext) -> list[Node]:
    """Make the nodes; the given arguments override the config."""
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
    if given["host"]:
        # Replaces the config's host, which is refused beside hosts that do not contain it.
        hosts = given["host"].split(",")
        overrides["policy.host"], overrides["policy.hosts"] = hosts[0], hosts
    if given["port"]:
        overrides["policy.port"] = int(given["port"])
    if given["instruction"]:
        overrides["instruction"] = given["instruction"]
    nodes = [
        LifecycleNode(**_arguments(name, given), parameters=[str(config), overrides])
        for name in NODES
    ]
    if _flag("task", given["task"]):
        own = {key: overrides[key] for key in ("use_sim_time", "end_with_pid") if key in overrides}
        nodes.append(Node(**_arguments("task_node", given), parameters=[str(config), own]))
    return nodes


def _arguments(name: str, given: dict[str, str]) -> dict[str, Any]:
    return {
        "package": "gr00t_ros",
        "executable": name,
        "name": name,
        "namespace": given["namespace"],
        "ros_arguments": ["--log-level", f"{name}:={given['log_level']}"],
        "output": "screen",
    }


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
