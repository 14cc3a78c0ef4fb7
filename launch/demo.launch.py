# SPDX-License-Identifier: Apache-2.0
"""The demo's parts by `ros2 launch`: simulated arm, policy server, and the nodes.

`make demo` starts the same without launch, and shows how it goes.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from gr00t_ros.node.process_environment import process_environment
from gr00t_ros.sim.demo_processes import POLICIES, ends_with_its_parent, serve_command

SHARE = Path(get_package_share_directory("gr00t_ros"))


def policy_server(context: LaunchContext) -> list[ExecuteProcess]:
    """The policy server with the policy that the arguments name."""
    command = serve_command(LaunchConfiguration("policy").perform(context))
    port = LaunchConfiguration("port").perform(context)
    return [
        ExecuteProcess(
            cmd=[*ends_with_its_parent(), *command, "--port", port],
            name="policy_server",
            on_exit=Shutdown(reason="the policy server has ended"),
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    port = LaunchConfiguration("port")
    seed = ParameterValue(LaunchConfiguration("seed"), value_type=int)
    environment = process_environment(SHARE / "config" / "fastdds.xml")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "port", default_value="5555", description="TCP port of the policy server"
            ),
            DeclareLaunchArgument(
                "policy",
                default_value="feedback",
                choices=POLICIES,
                description="feedback: looks at the images; replay: plays a recorded episode",
            ),
            DeclareLaunchArgument(
                "seed", default_value="0", description="where the cubes lie (feedback only)"
            ),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            Node(
                package="gr00t_ros",
                executable="sim_node",
                name="sim_node",
                parameters=[{"end_with_pid": os.getpid(), "scene_seed": seed}],
                output="screen",
            ),
            OpaqueFunction(function=policy_server),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "policy.launch.py")),
                launch_arguments={
                    "config": str(SHARE / "config" / "demo.yaml"),
                    "port": port,
                }.items(),
            ),
        ]
    )
