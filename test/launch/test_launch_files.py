# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch gr00t_ros …` for real: processes, parameters, an orderly end."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import free_port, wait_until
from rclpy.node import Node
from running_processes import is_alive

from gr00t_ros.msg import ControlStatus, PolicyStatus, RecorderStatus, VisualizationStatus
from gr00t_ros.node.diagnostics import Status
from gr00t_ros.node.qos import STATUS

STATUS_TYPES = {
    "policy_node": PolicyStatus,
    "control_node": ControlStatus,
    "recorder_node": RecorderStatus,
    "visualization_node": VisualizationStatus,
}
SLOW_S = 120.0  # for processes to come up, on a busy machine
ARGUMENTS = (
    *("config", "host", "port", "instruction"),
    *("autostart", "task", "namespace", "use_sim_time", "end_with_launch", "log_level"),
)


@pytest.fixture
def launch(ros2: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    launched: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / "launch.log").open("w") as log:
            process = subprocess.Popen(
                [ros2, "launch", "gr00t_ros", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
            )
        launched.append(process)
        return process

    yield start
    for process in launched:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                process.kill()


def newest_status(node: Node, topic: str) -> list[Status]:
    received: list[Status] = []
    status_type = STATUS_TYPES[topic.split("/")[-2]]
    node.create_subscription(
        status_type, topic, lambda message: received.__setitem__(slice(None), [message]), STATUS
    )
    return received


def test_every_argument_is_described(ros2: str) -> None:
    shown = subprocess.run(
        [ros2, "launch", "gr00t_ros", "policy.launch.py", "--show-args"],
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=True,
    ).stdout

    for name in ARGUMENTS:
        assert f"'{name}':" in shown
    assert "No description given" not in shown


def test_the_recorder_launches_and_ends_in_order(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node, tmp_path: Path
) -> None:
    status = newest_status(ros_node, "/left/recorder_node/status")
    process = launch("record.launch.py", "namespace:=left", f"folder:={tmp_path}/recordings")

    wait_until(lambda: status and status[0].topics, SLOW_S, "the recorder is up")
    assert status[0].topics[0].topic == "/left/front/image_raw"
    process.send_signal(signal.SIGINT)
    process.wait(SLOW_S)

    log = (tmp_path / "launch.log").read_text()
    assert log.count("process has finished cleanly") == 1, log


def test_the_visualization_launches_in_its_namespace_and_ends_in_order(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node, tmp_path: Path
) -> None:
    status = newest_status(ros_node, "/left/visualization_node/status")
    process = launch("visualize.launch.py", "namespace:=left")

    wait_until(lambda: status, SLOW_S, "the visualization is up")
    process.send_signal(signal.SIGINT)
    process.wait(SLOW_S)

    log = (tmp_path / "launch.log").read_text()
    assert log.count("process has finished cleanly") == 1, log


def test_a_robot_description_without_a_root_is_named(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "robot.urdf").write_text('<robot name="none"/>')
    process = launch("visualize.launch.py", "urdf:=robot.urdf")

    assert process.wait(SLOW_S) != 0
    said = "urdf:=robot.urdf: the robot description has 0 root links, expected one"
    assert said in (tmp_path / "launch.log").read_text()


def test_the_demo_launches_and_the_arm_is_driven(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node, tmp_path: Path
) -> None:
    policy = newest_status(ros_node, "policy_node/status")
    control = newest_status(ros_node, "control_node/status")

    process = launch("demo.launch.py", f"port:={free_port()}")

    wait_until(lambda: policy and policy[0].inferences > 2, SLOW_S, "the policy answers")
    wait_until(lambda: control and control[0].commands > 50, SLOW_S, "commands go out")
    process.send_signal(signal.SIGINT)
    process.wait(SLOW_S)
    log = (tmp_path / "launch.log").read_text()
    assert "process has died" not in log, log
    assert log.count("process has finished cleanly") == 5, log


def parts_of(folder: Path) -> list[int]:
    """The processes that the launch has started."""
    log = (folder / "launch.log").read_text()
    return [int(pid) for pid in re.findall(r"process started with pid \[(\d+)\]", log)]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_launch_that_is_killed_leaves_nothing_running(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node, tmp_path: Path, number: int
) -> None:
    control = newest_status(ros_node, "control_node/status")
    process = launch("demo.launch.py", f"port:={free_port()}")
    wait_until(lambda: control and control[0].commands > 50, SLOW_S, "commands go out")
    parts = parts_of(tmp_path)
    assert len(parts) == 5
    assert all(map(is_alive, parts))

    process.send_signal(number)

    wait_until(lambda: not any(map(is_alive, parts)), SLOW_S, "all parts end")


def test_nodes_may_outlive_their_launch(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node, tmp_path: Path
) -> None:
    status = newest_status(ros_node, "policy_node/status")
    process = launch("policy.launch.py", "end_with_launch:=false", f"port:={free_port()}")
    wait_until(lambda: status, SLOW_S, "the node is up")
    parts = parts_of(tmp_path)

    process.kill()
    process.wait()
    status.clear()

    wait_until(lambda: status, SLOW_S, "the node goes on")
    for part in parts:
        os.kill(part, signal.SIGINT)
    wait_until(lambda: not any(map(is_alive, parts)), SLOW_S, "both end")


def test_arguments_reach_the_nodes_in_their_namespace(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node
) -> None:
    status = newest_status(ros_node, "/left/policy_node/status")
    port = free_port()

    launch("policy.launch.py", "namespace:=left", "host:=127.0.0.2", f"port:={port}")

    wait_until(
        lambda: status and f"127.0.0.2:{port}" in status[0].reason, SLOW_S, "the host is told"
    )
    assert status[0].state == PolicyStatus.STATE_WAITING


def test_without_autostart_the_control_node_is_active_and_the_policy_node_waits(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node
) -> None:
    policy = newest_status(ros_node, "policy_node/status")
    control = newest_status(ros_node, "control_node/status")

    launch("policy.launch.py", "autostart:=false", f"port:={free_port()}")

    waiting = ControlStatus.STATE_WAITING
    wait_until(
        lambda: control and control[0].state == waiting, SLOW_S, "the control node is active"
    )
    wait_until(lambda: policy, SLOW_S, "the policy node is up")
    assert policy[0].state == PolicyStatus.STATE_STOPPED


def test_several_hosts_are_one_argument(
    launch: Callable[..., subprocess.Popen[str]], ros_node: Node
) -> None:
    status = newest_status(ros_node, "policy_node/status")

    launch("policy.launch.py", "host:=127.0.0.2,127.0.0.3:5777", f"port:={free_port()}")

    told = "127.0.0.3:5777 gives no answer"
    wait_until(lambda: status and told in status[0].reason, SLOW_S, "both hosts are told")


def test_a_config_that_is_not_there_is_named(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch("policy.launch.py", "config:=nowhere.yaml")

    assert process.wait(SLOW_S) != 0
    assert "config:=nowhere.yaml: there is no such file" in (tmp_path / "launch.log").read_text()


def test_a_config_that_is_no_yaml_is_named_with_its_line(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "robot.yaml").write_text("/**:\n  ros__parameters:\n    state: {arm: [a, b}\n")
    process = launch("policy.launch.py", "config:=robot.yaml")

    assert process.wait(60) != 0
    said = "config:=robot.yaml, line 3, column 23: while parsing a flow sequence; expected ',' or"
    assert said in (tmp_path / "launch.log").read_text()
