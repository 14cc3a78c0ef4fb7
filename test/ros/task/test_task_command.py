# SPDX-License-Identifier: Apache-2.0
"""The terminal of `gr00t-policy run`: Ctrl-C once and twice, and terminals that are gone or stuck.

A stand-in for the task node brakes for as long as a test says.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from helpers import wait_until
from slow_task_node import FEEDBACK_S, SlowTaskNode, slow_task_node
from std_srvs.srv import Trigger
from task_rig import SLOW_S, spinning_node

from gr00t_ros.node.stop_signals import REPEATED_AFTER_S


@pytest.fixture
def task_node() -> Iterator[SlowTaskNode]:
    with slow_task_node() as node:
        yield node


class Command:
    """`gr00t-policy run` in a terminal of its own, or with another stdout."""

    def __init__(self, stdout: int | None = None) -> None:
        self._terminal, inner = pty.openpty()
        self._said = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gr00t_policy_core", "run", "pick up the pear"],
            stdin=inner,
            stdout=inner if stdout is None else stdout,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, 0x540E, 0),  # TIOCSCTTY
        )
        os.close(inner)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press_ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal, as the end of an ssh session does."""
        os.kill(self.process.pid, signal.SIGHUP)
        os.close(self._terminal)

    def has_said(self, text: str) -> bool:
        return text.encode() in self._said

    def status(self) -> int:
        status = self.process.wait(SLOW_S)
        self._reader.join(SLOW_S)
        return status

    def lines(self) -> list[str]:
        return self._said.decode().replace("\r", "\n").split("\n")

    def _read(self) -> None:
        try:
            while data := os.read(self._terminal, 4096):
                self._said += data
        except OSError:  # the terminal was closed at one of its ends
            return


def test_ctrl_c_cancels_and_waits_for_rest(task_node: SlowTaskNode) -> None:
    command = Command()
    wait_until(lambda: command.has_said("| running"), SLOW_S, "the task runs")
    command.press_ctrl_c()
    assert task_node.is_cancelled.wait(SLOW_S)
    wait_until(lambda: command.has_said("Ctrl-C again does not wait"), SLOW_S, "it is said")
    assert command.process.poll() is None
    task_node.is_at_rest.set()
    assert command.status() == 130
    assert any(line.startswith("run: cancelled after") for line in command.lines())


def test_a_second_ctrl_c_is_cut_short_and_said_on_a_line_of_its_own(
    task_node: SlowTaskNode,
) -> None:
    command = Command()
    wait_until(lambda: command.has_said("| running"), SLOW_S, "the task runs")
    command.press_ctrl_c()
    assert task_node.is_cancelled.wait(SLOW_S)
    wait_until(lambda: command.has_said("Ctrl-C again does not wait"), SLOW_S, "it is said")
    time.sleep(REPEATED_AFTER_S)  # one that comes earlier is the same request
    command.press_ctrl_c()
    assert command.status() == 1
    (line,) = [line for line in command.lines() if "left before the result came" in line]
    assert line.startswith("gr00t-policy run: left before the result came; the robot may still")


def test_ctrl_c_before_the_goal_is_accepted_cancels_it_all_the_same(
    task_node: SlowTaskNode,
) -> None:
    task_node.may_accept.clear()
    command = Command()
    assert task_node.is_asked.wait(SLOW_S)
    command.press_ctrl_c()
    with pytest.raises(subprocess.TimeoutExpired):
        command.process.wait(2.0)
    task_node.may_accept.set()
    assert task_node.is_cancelled.wait(SLOW_S)
    task_node.is_at_rest.set()
    assert command.status() == 130


@pytest.fixture
def stopped() -> Iterator[list[str]]:
    """The nodes whose `~/stop` was called, in their order."""
    stopped: list[str] = []

    def note(name: str, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        stopped.append(name)
        response.success, response.message = True, "stopped"
        return response

    with spinning_node("robot") as node:
        for name in ("policy_node", "control_node"):
            node.create_service(Trigger, f"{name}/stop", partial(note, name))
        yield stopped


def test_a_task_that_is_not_accepted_in_time_moves_no_robot_later(
    task_node: SlowTaskNode, stopped: list[str]
) -> None:
    task_node.may_accept.clear()
    command = Command()
    assert command.status() == 1
    assert stopped == ["control_node", "policy_node"]  # the first cannot be undone by the task
    said = " ".join("".join(command.lines()).split())
    assert "it may begin the task later; control_node was stopped; policy_node was stopped" in said
    assert "~/start of control_node allows motion again" in said
    task_node.may_accept.set()
    assert task_node.is_running.wait(SLOW_S)
    task_node.is_at_rest.set()


def unanswered(task_node: SlowTaskNode) -> Command:
    """A command whose task runs, and whose goal was never answered."""
    task_node.lose_answers()
    command = Command()
    wait_until(lambda: command.has_said("| running"), SLOW_S, "the task runs")
    return command


def test_a_task_whose_answer_is_lost_is_cancelled_at_once(
    task_node: SlowTaskNode, stopped: list[str]
) -> None:
    command = unanswered(task_node)
    command.press_ctrl_c()
    assert task_node.is_cancelled.wait(SLOW_S)
    wait_until(lambda: command.has_said("Ctrl-C again does not wait"), SLOW_S, "it is said")
    assert stopped == []
    task_node.is_at_rest.set()
    assert command.status() == 1
    assert stopped == ["control_node", "policy_node"]  # how it ended is not known


def test_a_task_node_that_falls_silent_before_its_answer_comes_has_ended_or_hangs(
    task_node: SlowTaskNode, stopped: list[str]
) -> None:
    command = unanswered(task_node)
    task_node.is_silent.set()
    assert command.status() == 1
    assert stopped == ["control_node", "policy_node"]
    said = " ".join("".join(command.lines()).split())
    assert "task_node has ended, or hangs; control_node was stopped" in said


def test_ctrl_c_before_there_is_a_task_node_starts_nothing() -> None:
    command = Command()
    wait_until(lambda: is_handled(command.process.pid), SLOW_S, "the command handles Ctrl-C")
    command.press_ctrl_c()
    assert command.status() == 130
    assert command.has_said("run: interrupted before the task started")


def is_handled(pid: int) -> bool:
    """Whether a process has a handler of SIGHUP, which Python itself does not set."""
    with open(f"/proc/{pid}/status") as file:
        (caught,) = [line.split()[1] for line in file if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def test_a_closed_terminal_cancels_and_the_command_waits_for_rest(task_node: SlowTaskNode) -> None:
    command = Command()
    wait_until(lambda: command.has_said("| running"), SLOW_S, "the task runs")
    command.hang_up()
    assert task_node.is_cancelled.wait(SLOW_S)
    assert command.process.poll() is None
    task_node.is_at_rest.set()
    assert command.status() == 130


def test_a_reader_that_goes_leaves_the_task_to_its_end(task_node: SlowTaskNode) -> None:
    reading, writing = os.pipe()
    command = Command(writing)
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)  # as `| head` does
    with pytest.raises(subprocess.TimeoutExpired):
        command.process.wait(5.0)  # it goes on after its next line
    command.press_ctrl_c()
    assert task_node.is_cancelled.wait(SLOW_S)
    task_node.is_at_rest.set()
    assert command.status() == 130


def test_a_pipe_that_nobody_reads_does_not_keep_ctrl_c_from_the_robot(
    task_node: SlowTaskNode,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    command = Command(writing)
    os.close(writing)
    assert task_node.is_running.wait(SLOW_S)
    time.sleep(2 * FEEDBACK_S)  # it has a line to write, which nobody takes
    command.press_ctrl_c()
    assert task_node.is_cancelled.wait(SLOW_S)
    task_node.is_at_rest.set()
    assert command.status() == 130
    os.close(reading)
