# SPDX-License-Identifier: Apache-2.0
"""What `policy.launch.py` tells each node, without `ros2 launch`, which PyPI does not have."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

LAUNCH_FILE = Path(__file__).resolve().parents[3] / "launch" / "policy.launch.py"


class LaunchConfigurationDouble:
    """An argument of the launch; the context is a mapping of the arguments here."""

    def __init__(self, name: str) -> None:
        self._name = name

    def perform(self, context: dict[str, str]) -> str:
        return context[self._name]


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the launch file, whose actions are made as plain namespaces."""
    plain = SimpleNamespace
    doubles = {
        "launch": {"LaunchContext": plain, "LaunchDescription": plain},
        "launch.substitutions": {"LaunchConfiguration": LaunchConfigurationDouble},
        "launch_ros": {},
        "launch_ros.actions": {"LifecycleNode": plain, "Node": plain},
    }
    for name, members in doubles.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(LAUNCH_FILE))


def parameters_of(launch_file: dict[str, Any], **given: str) -> dict[str, dict[str, Any]]:
    """The parameters that override the config's, by node."""
    defaults = {name: default for name, default, _ in launch_file["ARGUMENTS"]}
    nodes = launch_file["make_nodes"]({**defaults, **given})
    return {node.name: node.parameters[-1] for node in nodes}


def test_without_autostart_the_policy_node_alone_waits(launch_file: dict[str, Any]) -> None:
    """`/policy_node/start` then moves the robot: a control node that waits too would not."""
    parameters = parameters_of(launch_file, autostart="false")

    assert parameters["policy_node"]["autostart"] is False
    assert parameters["control_node"]["autostart"] is True
    assert "autostart" not in parameters["task_node"]


def test_both_nodes_start_by_themselves_otherwise(launch_file: dict[str, Any]) -> None:
    parameters = parameters_of(launch_file)

    assert parameters["policy_node"]["autostart"] is True
    assert parameters["control_node"]["autostart"] is True


def test_arguments_replace_what_the_config_says(launch_file: dict[str, Any]) -> None:
    parameters = parameters_of(
        launch_file, host="left,right:5777", port="5556", instruction="pick up the apple"
    )

    for name in ("policy_node", "control_node"):
        assert parameters[name]["policy.host"] == "left"
        assert parameters[name]["policy.hosts"] == ["left", "right:5777"]
        assert parameters[name]["policy.port"] == 5556
        assert parameters[name]["instruction"] == "pick up the apple"


def test_arguments_that_are_not_given_leave_the_config_alone(launch_file: dict[str, Any]) -> None:
    parameters = parameters_of(launch_file)

    assert parameters["policy_node"].keys() == {"autostart", "use_sim_time", "end_with_pid"}


def test_launch_leaves_the_nodes_the_time_that_braking_needs(launch_file: dict[str, Any]) -> None:
    """It kills a node 5 s after SIGTERM, sooner than a base may be at rest.

    SIGTERM must stay early: where launch alone gets SIGINT, the nodes hear nothing before it.
    """
    nodes = launch_file["make_nodes"](
        {name: default for name, default, _ in launch_file["ARGUMENTS"]}
    )

    assert len(nodes) == 3
    for node in nodes:
        assert not hasattr(node, "sigterm_timeout"), node.name
        assert float(node.sigkill_timeout) >= 60.0, node.name


def test_the_launch_files_of_robots_wait_for_start_and_pass_the_argument_on() -> None:
    files = sorted(LAUNCH_FILE.parents[1].glob("robots/*/*.launch.xml"))

    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert '<arg name="autostart" default="false"' in text, file
        assert '<arg name="autostart" value="$(var autostart)"/>' in text, file
