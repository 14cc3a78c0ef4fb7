# SPDX-License-Identifier: Apache-2.0
"""Both nodes and a policy server as processes of their own, and a robot for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers import free_port, wait_until
from nodes_for_tests import Operator, Robot, patience
from policies_for_tests import parameters
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory
from udp_environment import udp_environment

NODE = "import sys; from gr00t_ros.{0}.{0}_node import main; sys.exit(main())"


SERVER = """
from gr00t_policy_core import PolicyServer
from policies_for_tests import {policy}
PolicyServer({policy}(), host="127.0.0.1", port={port}).run()
"""


END_S = 20.0
SLOW_S = 120.0  # starting a process takes seconds on a machine with much else to do


class Process:
    """A Python process whose output lies in a file.

    Args:
        is_killed: Whether it has nodes and is to be killed.
    """

    def __init__(self, code: str, *arguments: str, log: Path, is_killed: bool = False) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                cwd=Path(__file__).parent,
                stdout=file,
                stderr=file,
                env=udp_environment() if is_killed else None,
            )

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and return when all of its threads stand still."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def end(self) -> None:
        """End it as a supervisor does; one that does not end is killed."""
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        try:
            self.popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

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

    def start(self, code: str, *arguments: str, name: str, is_killed: bool = False) -> Process:
        log = self._folder / f"{name}.log"
        process = Process(code, *arguments, log=log, is_killed=is_killed)
        self._processes.append(process)
        return process

    def start_server(self, policy: str = "EchoPolicy") -> Process:
        return self.start(SERVER.format(policy=policy, port=self.port), name="server")

    def start_node(
        self, name: str, *, code: str = "", is_killed: bool = False, **changes: Any
    ) -> Process:
        settings = {
            "autostart": True,
            "end_with_pid": os.getpid(),  # none is left behind where the tests are killed
            "policy__port": self.port,
            "policy__timeout_s": 1.0,
        }
        values = parameters(**patience({**settings, **changes}))
        file = self._folder / f"{name}.yaml"
        file.write_text(json.dumps({"/**": {"ros__parameters": values}}))  # JSON is YAML
        code = code or NODE.format(name.removesuffix("_node"))
        arguments = ("--ros-args", "--params-file", str(file))
        return self.start(code, *arguments, name=name, is_killed=is_killed)

    def wait_for_commands(self, more: int = 20) -> None:
        wanted = len(self.commands) + more
        wait_until(lambda: len(self.commands) >= wanted, SLOW_S, "commands")

    def end(self) -> str:
        for process in self._processes:
            process.end()
        return "\n".join(f"--- {p.log.name}\n{p.output()}" for p in self._processes)


def ends_with(process: Process) -> int:
    wait_until(lambda: process.popen.poll() is not None, SLOW_S, "the process ends")
    return int(process.popen.returncode)
