# SPDX-License-Identifier: Apache-2.0
"""A robot whose nodes and server are processes, each of which may be killed and started again."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers import free_port, wait_until
from nodes_for_tests import Robot, patience
from policies_for_tests import parameters
from task_rig import SLOW_S, Processes, TaskPeer, node_command, spinning_node
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core import PolicyClient
from gr00t_ros.action import RunPolicy

SERVER = """
from gr00t_policy_core import PolicyServer
from policies_for_tests import EchoPolicy
PolicyServer(EchoPolicy(), host="127.0.0.1", port={port}).run()
"""
GOAL = RunPolicy.Goal(instruction="pick up the pear")
Feedback = RunPolicy.Feedback


class Fleet:
    """The robot in this process, its nodes and the server in others."""

    def __init__(self, peer: TaskPeer, processes: Processes, port: int) -> None:
        self.peer = peer
        self.processes = processes
        self.port = port
        self.robot = Robot(peer.node)
        # The control node moves nothing that nobody listens to.
        peer.node.create_subscription(JointTrajectory, "commands", lambda _: None, 10)

    def begin(self) -> object:
        """A goal whose robot plays chunks."""
        handle = self.peer.send(GOAL)
        self.peer.wait_for_feedback(Feedback.STATE_RUNNING)
        return handle

    def begin_and_brake(self, hung: str) -> object:
        """A goal that is cancelled, and whose robot brakes until a node goes on again."""
        handle = self.begin()
        self.processes.signal(hung, signal.SIGSTOP)
        handle.cancel_goal_async()
        self.peer.wait_for_feedback(Feedback.STATE_STOPPING)
        return handle

    def begin_without_server(self) -> object:
        """A goal that waits for its first chunk."""
        self.processes.signal("server", signal.SIGSTOP)
        handle = self.peer.send(GOAL)
        self.peer.wait_for_feedback(Feedback.STATE_STARTING)
        return handle

    def start_again(self, name: str) -> None:
        """Start what was killed, and lift the stop that a fault may have left behind."""
        with self.peer.found_again(name):
            self.processes.start(name)
        if name == "server":
            with PolicyClient(port=self.port, timeout_ms=1000) as client:
                wait_until(client.ping, SLOW_S, "the server answers")
        self.peer.wait_for_nodes(self.processes)
        self.peer.allow_motion()


@contextlib.contextmanager
def running_fleet(folder: Path) -> Iterator[Fleet]:
    """A robot whose processes run, and whose logs lie in a folder."""
    port = free_port()
    settings = {"policy__port": port, "policy__timeout_s": 1.0}
    file = folder / "robot.yaml"
    values = parameters(**patience(settings))
    file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
    processes = Processes(
        {
            "server": [sys.executable, "-c", SERVER.format(port=port)],
            "policy_node": node_command("policy_node", file),
            "control_node": node_command("control_node", file, autostart=True),
            "task_node": node_command("task_node", file, status_timeout_s=2.0, stall_timeout_s=4.0),
        },
        folder,
    )
    with spinning_node("fleet") as node:
        try:
            processes.start("server", "policy_node", "control_node", "task_node")
            peer = TaskPeer(node)
            peer.wait_for_nodes(processes)
            yield Fleet(peer, processes, port)
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails
