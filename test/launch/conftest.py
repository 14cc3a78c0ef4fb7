# SPDX-License-Identifier: Apache-2.0
"""Launch files run where `ros2 launch` is; each test process has a DDS domain of its own."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

ROS_TESTS = Path(__file__).parents[1] / "ros"
sys.path.insert(0, str(ROS_TESTS))

_shared = runpy.run_path(str(ROS_TESTS / "conftest.py"))  # reserves a domain, too
ros_context, spin, ros_node = (_shared[name] for name in ("ros_context", "spin", "ros_node"))


@pytest.fixture(scope="session")
def ros2() -> str:
    """The `ros2` command, with `launch`; the wheels of ROS 2 have neither."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed (not on PyPI)")
    pytest.importorskip("ros2launch", reason="ros2launch is not installed (not on PyPI)")
    command = shutil.which("ros2")
    if command is None:
        pytest.skip("no ros2 command on PATH")
    return command
