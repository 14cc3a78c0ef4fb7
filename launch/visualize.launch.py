# SPDX-License-Identifier: Apache-2.0
"""What the policy plans, as pictures: `visualization_node`, and the ghost robot if there is a URDF.

ros2 launch gr00t_ros visualize.launch.py config:=my_robot.yaml urdf:=my_robot.urdf
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch_ros.actions import LifecycleNode, Node

from gr00t_policy_core.kinematics.prefixed_urdf import prefixed_urdf
from gr00t_policy_core.kinematics.urdf import robot_element, root_link
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

GHOST = "ghost/"

CONFIG = Path(get_package_share_directory("gr00t_ros"), "config")

ARGUMENTS = (
    ("config", str(CONFIG / "demo.yaml"), "YAML file with the parameters of the robot"),
    ("urdf", "", "URDF file of the robot, for the ghost's transforms; empty: no ghost"),
    ("rviz", "false", "start RViz with the configuration of the package (true | false)"),
    ("autostart", "true", "configure and activate automatically (true | false)"),
    NAMESPACE,
    USE_SIM_TIME,
    END_WITH_LAUNCH,
    LOG_LEVEL,
)


def make_nodes(context: LaunchContext) -> list[Node]:
    """Make the node, the ghost and RViz; the given arguments override the config."""
    given = given_arguments(context, ARGUMENTS)
    config, overrides = config_file(given), parameter_overrides(given)
    ghost = _ghost(Path(given["urdf"]).expanduser(), given["namespace"]) if given["urdf"] else []
    rviz = [_rviz(given["namespace"])] if flag("rviz", given["rviz"]) else []
    return [
        *ghost,
        *rviz,
        LifecycleNode(
            **node_arguments("visualization_node", given), parameters=[str(config), overrides]
        ),
    ]


def _ghost(urdf: Path, namespace: str) -> list[Node]:
    """The transforms of the ghost: its links, and its root where the robot's root is."""
    try:
        text = urdf.read_text(encoding="utf-8")
        description = prefixed_urdf(text, GHOST)
        root = root_link(robot_element(text))
    except (OSError, ValueError) as error:
        raise ValueError(f"urdf:={urdf}: {error} (a xacro file has to be made a URDF first)") from (
            error
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


def generate_launch_description() -> LaunchDescription:
    return launch_description(ARGUMENTS, make_nodes, CONFIG)
