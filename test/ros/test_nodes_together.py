# SPDX-License-Identifier: Apache-2.0
"""Both nodes and a policy server as processes of their own, and what befalls them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import TwistStamped
from helpers import wait_until
from nodes_for_tests import Operator, Robot
from policies_for_tests import parameters
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.msg import PolicyStatus

NODE = "import sys; from gr00t_ros.{0} import main; sys.exit(main())"
SERVER = """
from gr00t_policy_core import PolicyServer
from policies_for_tests import {policy}
PolicyServer({policy}(), host="127.0.0.1", port={port}).run()
"""
SLOW_S = 40.0  # starting a process takes seconds on a machine with much else to do


class Process:
    """A Python process whose output lies in a file."""

    def __init__(self, code: str, *arguments: str, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                cwd=Path(__file__).parent,
                stdout=file,
                stderr=file,
            )

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        self.popen.kill()
        self.popen.wait()

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Scene:
    """A robot in this process; nodes and server in others."""

    def __init__(self, peer: Node, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.peer = peer
        self.robot = Robot(peer)
        self.port = free_port()
        self.policy = Operator(peer, "policy_node")
        self.control = Operator(peer, "control_node")
        self.commands: list[JointTrajectory] = []
        peer.create_subscription(JointTrajectory, "commands", self.commands.append, 100)

    def start(self, code: str, *arguments: str, name: str) -> Process:
        process = Process(code, *arguments, log=self._folder / f"{name}.log")
        self._processes.append(process)
        return process

    def start_server(self, policy: str = "EchoPolicy") -> Process:
        return self.start(SERVER.format(policy=policy, port=self.port), name="server")

    def start_node(self, name: str, **changes: Any) -> Process:
        settings = {"autostart": True, "policy__port": self.port, "policy__timeout_s": 1.0}
        values = parameters(**{**settings, **changes})
        file = self._folder / f"{name}.yaml"
        file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
        return self.start(NODE.format(name), "--ros-args", "--params-file", str(file), name=name)

    def wait_for_commands(self, more: int = 20) -> None:
        wanted = len(self.commands) + more
        wait_until(lambda: len(self.commands) >= wanted, SLOW_S, "commands")

    def end(self) -> str:
        for process in self._processes:
            process.kill()
        return "\n".join(f"--- {p.log.name}\n{p.output()}" for p in self._processes)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def scene(ros_node: Node, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(ros_node, tmp_path)
    yield scene
    print(scene.end())  # noqa: T201 - pytest shows it where a test fails


def ends_with(process: Process) -> int:
    wait_until(lambda: process.popen.poll() is not None, SLOW_S, "the process ends")
    return int(process.popen.returncode)


def test_a_server_may_come_late_be_killed_and_come_back(scene: Scene) -> None:
    policy_node, control_node = scene.start_node("policy_node"), scene.start_node("control_node")
    status = scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    assert status.state == PolicyStatus.STATE_WAITING
    assert scene.commands == []

    server = scene.start_server()
    scene.policy.wait_until_running(SLOW_S)
    scene.control.wait_until_running(SLOW_S)
    scene.wait_for_commands()

    server.kill()
    scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    status = scene.control.wait_for_reason("ended and no other came", SLOW_S)
    assert status.state == PolicyStatus.STATE_HOLDING
    scene.wait_for_commands()  # held at control rate

    scene.start_server()
    scene.policy.wait_until_running(SLOW_S)
    scene.control.wait_until_running(SLOW_S)
    assert policy_node.popen.poll() is None
    assert control_node.popen.poll() is None
    troubles = policy_node.output().count("not inferring: ")
    assert 1 <= troubles <= 4  # told, and not at every attempt
    assert "Traceback" not in policy_node.output() + control_node.output()


def test_a_server_that_stands_still_is_reported_and_waited_for(scene: Scene) -> None:
    server = scene.start_server()
    policy_node = scene.start_node("policy_node")
    scene.policy.wait_until_running(SLOW_S)

    server.signal(signal.SIGSTOP)
    status = scene.policy.wait_for_reason(f"{scene.port}", SLOW_S)
    assert status.inference_errors >= 1
    scene.policy.wait_for_status(
        lambda s: s.inference_errors > status.inference_errors, "further attempts", SLOW_S
    )
    server.signal(signal.SIGCONT)
    scene.policy.wait_until_running(SLOW_S)
    assert "inferring again" in policy_node.output()


def test_the_control_node_holds_when_the_policy_node_is_killed(scene: Scene) -> None:
    scene.start_server()
    policy_node = scene.start_node("policy_node")
    control_node = scene.start_node("control_node")
    scene.control.wait_until_running(SLOW_S)
    policy_node.kill()
    status = scene.control.wait_for_reason("ended and no other came", SLOW_S)
    assert status.state == PolicyStatus.STATE_HOLDING
    scene.wait_for_commands()
    held = scene.commands[-1].points[0].positions
    assert held == scene.commands[-5].points[0].positions

    scene.start_node("policy_node")
    scene.control.wait_until_running(SLOW_S)
    assert control_node.popen.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_both_nodes_in_order(scene: Scene, number: int) -> None:
    scene.start_server()
    nodes = [scene.start_node(name) for name in ("policy_node", "control_node")]
    scene.control.wait_until_running(SLOW_S)
    for node in nodes:
        node.signal(number)
    assert [ends_with(node) for node in nodes] == [0, 0]
    assert "Traceback" not in nodes[0].output() + nodes[1].output()


def test_a_signal_ends_a_policy_node_whose_server_stands_still(scene: Scene) -> None:
    server = scene.start_server()
    policy_node = scene.start_node("policy_node", policy__timeout_s=600.0)
    scene.policy.wait_until_running(SLOW_S)
    server.signal(signal.SIGSTOP)
    asked = scene.policy.wait_for_status(lambda s: True, "a status").inferences
    scene.policy.wait_for_status(lambda s: s.inferences == asked, "a call that hangs", SLOW_S)
    policy_node.signal(signal.SIGTERM)
    assert ends_with(policy_node) == 0


def test_when_the_policy_node_ends_in_order_the_arm_stops_at_once(scene: Scene) -> None:
    scene.start_server()
    policy_node = scene.start_node("policy_node")
    scene.start_node("control_node")
    scene.control.wait_until_running(SLOW_S)
    policy_node.signal(signal.SIGINT)
    assert ends_with(policy_node) == 0
    scene.control.wait_for_reason("holding: told to stop")


def test_no_velocity_stays_commanded_when_the_control_node_is_interrupted(scene: Scene) -> None:
    twists: list[TwistStamped] = []
    scene.peer.create_subscription(TwistStamped, "twist", twists.append, 100)
    scene.start_server("TwistPolicy")
    changes = {
        "action__arm__topic": "twist",
        "action__arm__interface": "twist_stamped",
        "action__arm__frame_id": "base",
        "action__arm__joints": None,
    }
    scene.start_node("policy_node", **changes)
    control_node = scene.start_node("control_node", **changes)
    wait_until(lambda: len(twists) > 10, SLOW_S, "velocities")
    assert twists[-1].twist.linear.x == 0.25
    control_node.signal(signal.SIGINT)
    assert ends_with(control_node) == 0
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, what="a last command of no velocity")


def test_wrong_parameters_are_told_and_the_process_can_be_put_right(scene: Scene) -> None:
    control_node = scene.start_node("control_node", action__gripper__joints=["elbow"])
    scene.control.wait_for_reason("the node is not active", SLOW_S)
    problem = "- action.arm, action.gripper: ['elbow'] commanded twice on topic commands"
    assert problem in control_node.output()
    assert scene.control.set_parameters(action__gripper__joints=["finger"]) == [True]
    assert scene.control.change_state(1, 3) == [True, True]
    scene.control.wait_for_reason("no chunk received yet")
