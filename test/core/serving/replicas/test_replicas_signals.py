# SPDX-License-Identifier: Apache-2.0
"""Signals to a server with replicas do what they do without Ray."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from peers.lines import LINES
from peers.stock import StockClient
from replica_policies import noted, observe
from replicas_helpers import PYTHONPATH, WAIT_S, assert_answered, needs_ray
from server_rig import wait_until

from gr00t_policy_core.serving.replicas import signals

needs_ray()
SERVER = Path(__file__).parents[2] / "replica_server.py"


def test_ctrl_c_to_all_processes_of_a_server_lets_a_call_in_progress_finish(tmp_path) -> None:
    """As a terminal sends it. SIGTERM to all of them is another thing: Ray's own processes then
    end at once now and then, and the call with them, so supervisors shall tell the server alone."""
    number = signal.SIGINT

    def ask() -> None:
        with StockClient(LINES["n1d7"](), port, timeout_s=WAIT_S) as client:
            data = {"observation": observe("hold")}
            answers.append(client.call("get_action", data=data))

    answers: list = []
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        port = int(server.stdout.readline())
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: len(noted(tmp_path, "held")) == 1, WAIT_S)
        os.killpg(server.pid, number)
        with StockClient(LINES["n1d7"](), port, timeout_s=WAIT_S) as other:
            wait_until(lambda: other.call("ping").get("status") == "error", WAIT_S)
        assert server.poll() is None
        (tmp_path / "release").touch()
        asking.join(WAIT_S)
        assert_answered(answers[0])
        _, log = server.communicate(timeout=WAIT_S)
        assert server.returncode == 0, log
        assert f"*** {number.name} received" not in log  # Ray's own handler, which aborts after 3 s
    finally:
        server.kill()
        server.communicate()


def test_handlers_that_are_replaced_in_another_thread_are_back_afterwards() -> None:
    """Not even one that is not Python's stays."""

    def replace() -> None:
        with signals.handlers_kept():
            ctypes.CDLL(None).signal(int(signal.SIGHUP), 1)  # SIG_IGN

    came: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        thread = threading.Thread(target=replace)
        thread.start()
        thread.join(WAIT_S)
        signal.raise_signal(signal.SIGHUP)
        wait_until(lambda: came == [signal.SIGHUP])
    finally:
        signal.signal(signal.SIGHUP, before)
