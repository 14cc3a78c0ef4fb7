# SPDX-License-Identifier: Apache-2.0
"""The nodes of a robot driven by a policy: `policy_node`, `control_node` and `task_node`.

ros2 launch gr00t_ros policy.launch.py config:=my_robot.yaml host:=gpu-box
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch_ros.actions import LifecycleNode, Node

from gr00t_ros.node.launch_arguments import (
    END_WITH_LAUNCH,
    LOG_LEVEL,
    NAMESPACE,
    USE_SIM_TIME,
    config_file,
    flag,
    given_arguments,
    launch_description,
    node_arguments,
    parameter_overrides,
)

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of both nodes"),
    ("host", "", "host of the policy server, or several: a,b:5556; empty: as in the config"),
    ("port", "", "TCP port of the policy server; empty: as in the config"),
    ("instruction", "", "instruction for the policy; empty: as in the config"),
    (
        "autostart",
        "true",
        "start the policy as soon as everything is ready; false: policy_node waits for its "
        "~/start. The control node is active either way (true | false)",
    ),
    ("task", "true", "start task_node, too, which runs tasks (true | false)"),
    NAMESPACE,
    USE_SIM_TIME,
    END_WITH_LAUNCH,
    LOG_LEVEL,
)


def make_nodes(context: LaunchContext) -> list[Node]:
    """Make the nodes; the given arguments override the config."""
    given = given_arguments(context, ARGUMENTS)
    config, overrides = config_file(given), parameter_overrides(given)
    if given["host"]:
        # Replaces the config's host, which is refused beside hosts that do not contain it.
        hosts = given["host"].split(",")
        overrides["policy.host"], overrides["policy.hosts"] = hosts[0], hosts
    if given["port"]:
        overrides["policy.port"] = int(given["port"])
    if given["instruction"]:
        overrides["instruction"] = given["instruction"]
    # The control node commands nothing before the first chunk: the policy node alone waits.
    of_node = {"policy_node": overrides, "control_node": {**overrides, "autostart": True}}
    nodes = [
        LifecycleNode(**node_arguments(name, given), parameters=[str(config), parameters])
        for name, parameters in of_node.items()
    ]
    if flag("task", given["task"]):
        own = {key: overrides[key] for key in ("use_sim_time", "end_with_pid") if key in overrides}
        nodes.append(Node(**node_arguments("task_node", given), parameters=[str(config), own]))
    return nodes


def generate_launch_description() -> LaunchDescription:
    return launch_description(ARGUMENTS, make_nodes, CONFIG)
