# SPDX-License-Identifier: Apache-2.0
"""What the policy plans, as pictures: `visualization_node`, and the ghost robot if there is a URDF.

ros2 launch gr00t_ros visualize.launch.py config:=my_robot.yaml urdf:=my_robot.urdf
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from gr00t_policy_core.kinematics.prefixed_urdf import prefixed_urdf
from gr00t_policy_core.kinematics.urdf import robot_element
from gr00t_ros.contract.parameter_files import mangled_blocks, why_unreadable
from gr00t_ros.node.process_environment import process_environment

GHOST = "ghost/"

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of the robot"),
    ("urdf", "", "URDF file of the robot, for the ghost's transforms; empty: no ghost"),
    ("rviz", "false", "start RViz with the configuration of the package (true | false)"),
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


def make_nodes(context: LaunchContext) -> list[Node]:
    """Make the node, the ghost and RViz; the given arguments override the config."""
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
    ghost = _ghost(Path(given["urdf"]).expanduser(), given["namespace"]) if given["urdf"] else []
    rviz = [_rviz(given["namespace"])] if _flag("rviz", given["rviz"]) else []
    return [
        *ghost,
        *rviz,
        LifecycleNode(
            package="gr00t_ros",
            executable="visualization_node",
            name="visualization_node",
            namespace=given["namespace"],
            parameters=[str(config), overrides],
            ros_arguments=["--log-level", f"visualization_node:={given['log_level']}"],
            output="screen",
        ),
    ]


def _ghost(urdf: Path, namespace: str) -> list[Node]:
    """The transforms of the ghost: its links, and its root where the robot's root is."""
    try:
        text = urdf.read_text(encoding="utf-8")
        description = prefixed_urdf(text, GHOST)
    except (OSError, ValueError) as error:
        raise ValueError(f"urdf:={urdf}: {error} (a xacro file has to be made a URDF first)") from (
            error
        )
    robot = robot_element(text)
    children = {child.get("link") for child in robot.findall("joint/child")}
    root = next(
        name for link in robot.findall("link") if (name := link.get("name")) not in children
    )
    publisher = Node(
        package="robot_state_publisher",
        executable="robot_state_publisher",
        name="robot_state_publisher",
        namespace=f"{namespace}/ghost",
        parameters=[{"robot_description": description}],
        remappings=[("robot_description", "~/robot_description")],  # the node publishes it, too
    )
    anchor = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        name="ghost_anchor",
        namespace=namespace,
        arguments=["--frame-id", root, "--child-frame-id", f"{GHOST}{root}"],
    )
    return [publisher, anchor]


def _rviz(namespace: str) -> Node:
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=namespace,
        arguments=["-d", str(CONFIG / "gr00t.rviz")],
    )


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
