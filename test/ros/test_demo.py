# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it: real processes, real DDS, real ZeroMQ, real signals."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import wait_until

from gr00t_ros.sim.demo_processes import DemoError, DemoProcesses, executable, port_from_log
from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm


def require_rendering() -> None:
    try:
        CameraRenderer(SimulatedArm(0).model, width=64, height=48).close()
    except RenderingUnavailableError as error:
        pytest.skip(f"no OpenGL on this machine: {error}")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    require_rendering()
    process = subprocess.Popen(
        [str(executable("demo"))],
        cwd=tmp_path,
        env={**os.environ, "DEMO_SECONDS": "6"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


def parts_of(demo: subprocess.Popen[str]) -> list[int]:
    """The processes that the demo has started and that still live."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_the_demo_ends_by_itself_having_moved_the_arm(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    output, _ = demo.communicate(timeout=180)

    assert demo.returncode == 0, output
    assert "the arm followed" in output
    assert (tmp_path / "demo" / "joints.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_ctrl_c_ends_the_demo_and_leaves_no_process_behind(demo: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(parts_of(demo)) == 4, timeout_s=90, what="all parts are started")
    parts = parts_of(demo)

    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)

    wait_until(lambda: not any(map(is_alive, parts)), what="all parts have ended")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_a_demo_that_is_killed_takes_its_parts_with_it(demo: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(parts_of(demo)) == 4, timeout_s=90, what="all parts are started")
    parts = parts_of(demo)

    demo.kill()

    wait_until(lambda: not any(map(is_alive, parts)), timeout_s=30, what="all parts have ended")


def test_a_demo_for_a_senseless_time_is_refused(tmp_path: Path) -> None:
    result = subprocess.run(
        [str(executable("demo"))],
        cwd=tmp_path,
        env={**os.environ, "DEMO_SECONDS": "-3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 2
    assert "DEMO_SECONDS must be a number of seconds > 0, got '-3'" in result.stdout


def test_a_part_that_ends_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    processes = DemoProcesses(tmp_path, os.environ)
    processes.start("part", [sys.executable, "-c", "raise SystemExit('out of coffee')"])

    with pytest.raises(DemoError, match=r"part ended with status 1:\nout of coffee"):
        processes.let_run(60.0)


def test_a_part_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    processes = DemoProcesses(tmp_path, os.environ)
    deaf = (
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(300)"
    )
    part = processes.start("deaf", [sys.executable, "-c", deaf])
    wait_until(lambda: "deaf" in part.log.read_text(), what="it ignores signals")

    processes.end()

    assert part.popen.poll() == -signal.SIGKILL


def test_the_port_is_read_from_what_the_server_says(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("starting\n")
    assert port_from_log(log) is None

    log.write_text("starting\nlistening on 127.0.0.1:40123\n")
    assert port_from_log(log) == 40123
