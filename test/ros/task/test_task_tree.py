# SPDX-License-Identifier: Apache-2.0
"""The example of a behaviour tree: Ctrl-C cancels the task that runs, and waits for its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from action_servers import Server
from helpers import heed_ctrl_c, wait_until
from rclpy.context import Context

from gr00t_ros.action import RunPolicy

pytest.importorskip("py_trees", reason="pip install py_trees")
EXAMPLE = Path(__file__).parents[3] / "examples" / "task_tree.py"
SLOW_S = 60.0


@pytest.fixture
def server(ros_context: Context) -> Iterator[Server]:
    server = Server(ros_context, RunPolicy, "task_node/run_policy")
    yield server
    server.close()


def start_tree() -> subprocess.Popen[str]:
    command = [sys.executable, str(EXAMPLE)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c)


def test_ctrl_c_cancels_the_task_and_waits_until_it_is_over(server: Server) -> None:
    process = start_tree()
    try:
        wait_until(lambda: server.goals, SLOW_S, "the first task runs")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=SLOW_S)
    finally:
        process.kill()
    assert server.canceled == [0]
    assert process.returncode == 130
    assert told.splitlines()[-1].startswith("cancelling; Ctrl-C once more does not wait")


def test_ctrl_c_before_there_is_a_task_node_ends_at_once() -> None:
    process = start_tree()
    try:
        assert process.stderr is not None
        assert "waiting for the task node" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(SLOW_S) == 130
    finally:
        process.kill()
        process.communicate()
