# SPDX-License-Identifier: Apache-2.0
"""A robot with all its processes, and a client of its task node, for the tests of tasks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import helpers
import pytest
import rclpy
from helpers import wait_until
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus, TaskResult, TaskStatus
from gr00t_ros.node.qos import CHUNK, STATUS
from gr00t_ros.node.shared_action_client import SharedActionClient
from gr00t_ros.node.spin_thread import SpinThread
from gr00t_ros.sim.demo_processes import port_from_log

SLOW_S = 60.0  # starting a process takes seconds on a machine with much else to do
ROBOTS = ("fleet", "simulation")  # fixtures with processes
Result = RunPolicy.Result
END_S = 20.0  # a robot brakes first
SERVE = ["serve", "--policy", "gr00t_ros.sim.feedback:FeedbackExpert", "--port", "0"]


class Processes:
    """Processes by name; each may be killed and started again.

    Args:
        commands: The command of each.
        folder: Gets the log of each.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], folder: Path) -> None:
        self._commands = dict(commands)
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._shown: dict[Path, int] = {}  # the characters of each log

    def start(self, *names: str) -> None:
        for name in names:
            with self.log(name).open("ab") as file:
                self._running[name] = subprocess.Popen(
                    self._commands[name],
                    cwd=Path(__file__).parent,
                    stdout=file,
                    stderr=file,
                    stdin=subprocess.DEVNULL,
                )

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def signal(self, name: str, number: int) -> None:
        self._running[name].send_signal(number)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def require_running(self) -> None:
        """Fail where a process has ended by itself."""
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        assert not ended, f"{ended} ended:\n{self.log(ended[0]).read_text(errors='replace')}"

    def new_output(self) -> str:
        """What they have said since this was called before."""
        parts = []
        for log in sorted(self._folder.glob("*.log")):
            text = log.read_text(errors="replace")
            parts.append(f"--- {log.name}\n{text[self._shown.get(log, 0) :]}")
            self._shown[log] = len(text)
        return "\n".join(parts)

    def end(self) -> str:
        """End them all; returns what they have said since `new_output()`.

        One that is killed may leave shared memory on which Fast DDS crashes in this process.
        """
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return self.new_output()


def show_output(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a test fails, pytest shows what the processes of its robot have said in its time.

    The body of an autouse fixture.
    """
    robots = [request.getfixturevalue(name) for name in ROBOTS if name in request.fixturenames]
    yield
    for robot in robots:
        print(robot.processes.new_output())  # noqa: T201 - pytest shows it where a test fails


@contextlib.contextmanager
def expert_server(folder: Path) -> Iterator[int]:
    """The port of a server whose policy knows how to put a cube into the bin."""
    server = Processes({"server": [sys.executable, "-m", "gr00t_policy_core", *SERVE]}, folder)
    server.start("server")
    try:
        wait_until(lambda: port_from_log(server.log("server")), SLOW_S, "the server listens")
        port = port_from_log(server.log("server"))
        assert port is not None
        yield port
    finally:
        server.end()


class TaskPeer:
    """A client of the task node, which also hears what the robot's nodes say."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.feedbacks: list[RunPolicy.Feedback] = []
        self.policy_statuses: list[PolicyStatus] = []
        self.control_statuses: list[ControlStatus] = []
        self.task_statuses: list[TaskStatus] = []
        self.chunks: list[ActionChunk] = []
        self._client = helpers.call_in_its_thread(
            node, lambda: SharedActionClient(node, RunPolicy, "task_node/run_policy")
        )
        self._results: dict[bytes, Any] = {}  # of the goals, by their id
        self._newest: Any = None
        self._start = node.create_client(Trigger, "control_node/start")
        self._answers: list[Any] = []
        self._asking = node.create_timer(0.5, self._ask_to_start)
        self._asking.cancel()
        node.create_subscription(
            PolicyStatus, "policy_node/status", self.policy_statuses.append, STATUS
        )
        node.create_subscription(
            ControlStatus, "control_node/status", self.control_statuses.append, STATUS
        )
        node.create_subscription(TaskStatus, "task_node/status", self.task_statuses.append, STATUS)
        node.create_subscription(ActionChunk, "action_chunk", self.chunks.append, CHUNK)

    def wait_for_nodes(self, processes: Processes) -> None:
        """Wait until all nodes are there, with statuses of their own."""
        seen = len(self.policy_statuses), len(self.control_statuses)

        def wait_until(predicate: Callable[[], object], timeout_s: float, what: str) -> None:
            helpers.wait_until(lambda: predicate() or processes.require_running(), timeout_s, what)

        wait_until(self._client.server_is_ready, SLOW_S, "the task node is there")
        wait_until(lambda: len(self.policy_statuses) > seen[0] + 1, SLOW_S, "the policy node")
        wait_until(
            lambda: (
                len(self.control_statuses) > seen[1] + 1
                and self.control_statuses[-1].state != ControlStatus.STATE_STOPPED
            ),
            SLOW_S,
            "the control node",
        )

    @contextlib.contextmanager
    def found_again(self, name: str) -> Iterator[None]:
        """Wait for the task node that is started within; one that was killed is known for long."""
        before = {status.source for status in self.task_statuses}
        yield
        if name == "task_node":
            wait_until(
                lambda: {status.source for status in self.task_statuses} - before,
                SLOW_S,
                "the task node is found",
            )
            self._wait_for_an_answer()

    def _wait_for_an_answer(self) -> None:
        """Send goals that nothing can run until one is answered: the first ones may be lost."""
        answered: list[Any] = []

        def ask() -> None:
            self._client.send_goal_async(RunPolicy.Goal()).add_done_callback(answered.append)

        timer = self.node.create_timer(1.0, ask)
        wait_until(lambda: answered, SLOW_S, "the task node answers")
        self.node.destroy_timer(timer)

    def allow_motion(self) -> None:
        """Lift a stop of the control node."""
        self._answers.clear()
        self._asking.reset()
        wait_until(lambda: self._answers, SLOW_S, "control_node/start answers")
        self._asking.cancel()

    def _ask_to_start(self) -> None:
        """Call `~/start`; the request may go to a node that was killed, and is still known."""
        self._start.call_async(Trigger.Request()).add_done_callback(self._answers.append)

    def send(self, goal: RunPolicy.Goal) -> Any:
        """Send a goal; returns its handle."""
        wait_until(self._client.server_is_ready, SLOW_S, "the task node is there")
        self.feedbacks.clear()

        def take(message: Any) -> None:
            self.feedbacks.append(message.feedback)

        future = self._client.send_goal_async(goal, feedback_callback=take)
        wait_until(future.done, SLOW_S, "the goal is answered")
        handle = future.result()
        assert handle.accepted
        # At once: the task node forgets the result soon after the end.
        self._newest = self._results[bytes(handle.goal_id.uuid)] = handle.get_result_async()
        return handle

    def result_of(self, handle: Any, timeout_s: float = SLOW_S) -> tuple[int, Result]:
        """The status and the result of a goal."""
        future = self._results[bytes(handle.goal_id.uuid)]
        wait_until(future.done, timeout_s, "the result of the goal")
        return future.result().status, future.result().result

    def run(self, goal: RunPolicy.Goal) -> tuple[int, Result]:
        """Run a goal to its end."""
        return self.result_of(self.send(goal))

    def wait_for_policy(self, text: str) -> None:
        """Wait until the policy node is stopped, for a reason."""
        wait_until(
            lambda: (
                self.policy_statuses[-1].state == PolicyStatus.STATE_STOPPED
                and text in self.policy_statuses[-1].reason
            ),
            SLOW_S,
            f"the policy node is stopped: {text}",
        )

    def wait_for_feedback(
        self, state: int, more: Callable[[RunPolicy.Feedback], object] = lambda _: True
    ) -> None:
        """Wait until the newest feedback of the last goal has a state; fail where it has ended."""
        future = self._newest

        def is_there() -> bool:
            newest = self.feedbacks[-1] if self.feedbacks else None
            if newest is not None and newest.state == state and more(newest):
                return True
            assert not future.done(), f"not state {state}, but the end: {future.result()}"
            return False

        wait_until(is_there, SLOW_S, f"feedback with state {state}")


@contextlib.contextmanager
def spinning_node(name: str) -> Iterator[Node]:
    """A node of a context of its own, whose callbacks run in a thread."""
    context = Context()
    rclpy.init(context=context)
    node = Node(name, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    spinning = SpinThread(executor, name)
    try:
        yield node
    finally:
        assert spinning.end(60.0), "a callback does not end"
        for action_client in list(node.waitables):
            action_client.destroy()  # a node does not: the garbage collector would, after its end
        node.destroy_node()
        context.try_shutdown()


def node_command(name: str, parameters_file: Path, **changes: Any) -> list[str]:
    """The command of one node, which ends with this process."""
    room = {"recorder_node": "record"}.get(name, name.removesuffix("_node"))
    code = f"import sys; from gr00t_ros.{room}.{name} import main"
    values = {"end_with_pid": os.getpid(), **changes}
    overrides = [
        part
        for key, value in values.items()
        for part in ("-p", f"{key.replace('__', '.')}:={json.dumps(value)}")
    ]
    arguments = ["--ros-args", "--params-file", str(parameters_file), *overrides]
    return [sys.executable, "-c", f"{code}; sys.exit(main())", *arguments]


def fields(result: TaskResult) -> tuple[int, int]:
    """Termination and outcome of a result."""
    return result.termination, result.outcome
