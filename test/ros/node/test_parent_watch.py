# SPDX-License-Identifier: Apache-2.0
"""Nodes whose launch process is gone come to rest and end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped
from helpers import free_port, wait_until
from nodes_for_tests import Robot, patience
from policies_for_tests import parameters
from rclpy.node import Node
from running_processes import is_alive
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.node import parent_watch
from gr00t_ros.node.parent_watch import ParentWatch

SLOW_S = 60.0
SERVER = """
from gr00t_policy_core import PolicyServer
from policies_for_tests import TwistPolicy
PolicyServer(TwistPolicy(), host="127.0.0.1", port={port}).run()
"""
# As `ros2 launch` does: its own number goes along, and its death is not passed on.
LAUNCHER = """
import os, subprocess, sys
parameters = ["--ros-args", "--params-file", sys.argv[1], "-p", f"end_with_pid:={os.getpid()}"]
for name in sys.argv[2:]:
    room = name.removesuffix("_node")
    code = f"import sys; from gr00t_ros.{room}.{name} import main; sys.exit(main())"
    node = subprocess.Popen([sys.executable, "-c", code, *parameters])
    print(node.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


@pytest.fixture(params=["pidfd", "kill"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By a pidfd, and as where there is none."""
    if request.param == "kill":
        monkeypatch.delattr(parent_watch.os, "pidfd_open", raising=False)
    return str(request.param)


def test_a_process_that_lives_has_not_ended(means: str, sleeper: subprocess.Popen[bytes]) -> None:
    assert not ParentWatch(sleeper.pid).has_ended()


def test_a_process_that_was_killed_has_ended(means: str, sleeper: subprocess.Popen[bytes]) -> None:
    watch = ParentWatch(sleeper.pid)
    sleeper.kill()
    if means == "kill":
        sleeper.wait()  # a number is in use until its process has been waited for
    wait_until(watch.has_ended, SLOW_S, "its end is seen")
    assert watch.has_ended()


def test_a_process_that_was_never_there_has_ended(
    means: str, sleeper: subprocess.Popen[bytes]
) -> None:
    sleeper.kill()
    sleeper.wait()
    assert ParentWatch(sleeper.pid).has_ended()


def test_without_a_process_to_watch_nothing_ends(means: str) -> None:
    assert not ParentWatch(0).has_ended()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_nodes_whose_launch_is_killed_bring_the_robot_to_rest_and_end(
    ros_node: Node, tmp_path: Path, number: int
) -> None:
    port = free_port()
    changes = {
        "autostart": True,
        "policy__port": port,
        "action__arm__topic": "twist",
        "action__arm__type": "twist_stamped",
        "action__arm__frame_id": "base",
        "action__arm__joints": None,
    }
    values = parameters(**patience(changes))
    settings = tmp_path / "parameters.yaml"
    settings.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
    twists: list[TwistStamped] = []
    ros_node.create_subscription(TwistStamped, "twist", twists.append, 1000)
    ros_node.create_subscription(JointTrajectory, "commands", lambda _: None, 10)  # the gripper's
    robot = Robot(ros_node)
    options = {"cwd": Path(__file__).parents[1], "stdin": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, "-c", SERVER.format(port=port)], **options)
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(settings), "policy_node", "control_node"],
        stdout=subprocess.PIPE,
        **options,
    )
    nodes: list[int] = []
    try:
        nodes.extend(int(launcher.stdout.readline()) for _ in range(2))
        speed = pytest.approx(0.25, abs=1e-3)
        wait_until(lambda: twists and twists[-1].twist.linear.x == speed, 2 * SLOW_S, "velocities")

        launcher.send_signal(number)

        wait_until(lambda: not any(map(is_alive, nodes)), SLOW_S, "the nodes end")
        wait_until(lambda: twists[-1].twist.linear.x == 0.0, SLOW_S, "a last command of none")
        assert robot.arm_on  # it went on all the time
    finally:
        for pid in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (launcher, server):
            process.kill()
            process.communicate()
