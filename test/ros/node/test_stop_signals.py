# SPDX-License-Identifier: Apache-2.0
"""The signals that end a process of this package."""

import os
import signal
import subprocess
import sys

import pytest

from gr00t_ros.sim.demo_processes import executable

SIGNALS = 20_000
HAMMERED = """
import sys
from gr00t_ros.node.stop_signals import stop_signals

with stop_signals() as stopping:
    print("ready", flush=True)
    sys.stdin.read()
print(stopping.is_set())
"""


def test_a_signal_that_interrupts_the_handling_of_another_does_not_wedge_the_process():
    with subprocess.Popen(
        [sys.executable, "-c", HAMMERED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(SIGNALS):
            process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "True\n")


WATCHED = """
import sys
from gr00t_ros.node.stop_signals import stop_signals

with stop_signals() as stopping:
    print("ready", flush=True)
    sys.stdin.readline()
    print(stopping.is_set())
"""


@pytest.mark.parametrize(("prefix", "is_asked"), [([], True), (["nohup"], False)])
def test_a_closed_terminal_asks_to_end_unless_nohup_says_otherwise(prefix, is_asked):
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", WATCHED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        said, _ = process.communicate("\n", timeout=120)
    assert (process.returncode, said) == (0, f"{is_asked}\n")


def test_ctrl_c_while_an_executable_still_imports_ends_it_without_a_traceback(tmp_path):
    package = tmp_path / "gr00t_ros"
    package.mkdir()
    interrupted = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (package / "__init__.py").write_text(interrupted)  # found before the real one
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [str(executable("control_node"))],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")
