# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: their common arguments, and what these mean to a node."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_ros.contract.parameter_files import mangled_blocks, why_unreadable
from gr00t_ros.node.process_environment import process_environment

if TYPE_CHECKING:
    from launch import LaunchContext, LaunchDescription

Argument = tuple[str, str, str]
"""Name, default and description of an argument."""

NAMESPACE: Argument = ("namespace", "", "namespace of the nodes and of their relative topics")
USE_SIM_TIME: Argument = ("use_sim_time", "false", "take the time from /clock (true | false)")
END_WITH_LAUNCH: Argument = (
    "end_with_launch",
    "true",
    "the nodes come to rest and end when this launch ends for any reason (true | false)",
)
LOG_LEVEL: Argument = ("log_level", "info", "debug | info | warn | error")
# launch sends SIGKILL this long after SIGTERM, s; its own 5 s are too short: braking takes as long
# as the limits need, and the last episode is brought to the disk. SIGTERM keeps the 5 s: where
# launch alone is interrupted, not the terminal's processes, it is the first signal to the nodes.
KILL_S = "60"


def given_arguments(context: LaunchContext, arguments: Sequence[Argument]) -> dict[str, str]:
    """Return the text of each argument of a launch, by name."""
    from launch.substitutions import LaunchConfiguration

    return {name: LaunchConfiguration(name).perform(context) for name, _, _ in arguments}


def config_file(given: Mapping[str, str]) -> Path:
    """Return the YAML file that the argument `config` names.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a YAML file with parameters; the text names the line.
    """
    config = Path(given["config"]).expanduser()
    if not config.is_file():
        raise FileNotFoundError(f"config:={config}: there is no such file")
    unreadable = why_unreadable(config) or "; ".join(mangled_blocks(config))
    if unreadable:
        raise ValueError(f"config:={unreadable}")
    return config


def parameter_overrides(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that follow from the arguments which the launch files share.

    Raises:
        ValueError: One of them is neither true nor false.
    """
    overrides: dict[str, Any] = {
        name: flag(name, given[name]) for name in ("autostart", "use_sim_time")
    }
    if flag("end_with_launch", given["end_with_launch"]):
        overrides["end_with_pid"] = os.getpid()
    return overrides


def node_arguments(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of the launch action of a node, which is named as its executable."""
    return {
        "package": "gr00t_ros",
        "executable": name,
        "name": name,
        "namespace": given["namespace"],
        "ros_arguments": ["--log-level", f"{name}:={given['log_level']}"],
        "output": "screen",
        "sigkill_timeout": KILL_S,
    }


def flag(name: str, text: str) -> bool:
    """Return the value of an argument that is true or false.

    Raises:
        ValueError: It is neither.
    """
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name}:={text}: must be true or false")
    return text.lower() == "true"


def launch_description(
    arguments: Sequence[Argument],
    make_nodes: Callable[[LaunchContext], list[Any]],
    config_folder: Path,
) -> LaunchDescription:
    """Describe a launch whose processes get the environment that large images need.

    Args:
        arguments: Its arguments.
        make_nodes: Makes the launch actions of the nodes once the arguments are known.
        config_folder: The folder of the package's `fastdds.xml`.
    """
    from launch import LaunchDescription
    from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable

    environment = process_environment(config_folder / "fastdds.xml")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=make_nodes),
        ]
    )
