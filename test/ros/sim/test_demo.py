# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it: real processes, real DDS, real ZeroMQ, real signals."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import wait_until
from rclpy.node import Node
from running_processes import is_alive
from simulation_rig import require_rendering
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.sim import demo as demo_module
from gr00t_ros.sim import demo_processes
from gr00t_ros.sim.demo_processes import (
    DemoError,
    DemoProcess,
    DemoProcesses,
    executable,
    has_dashboard,
    page_from_log,
    port_from_log,
)
from gr00t_ros.sim.demo_recorder import EVERY_MESSAGE

MOVING = 0.002  # rad a tick, of the fastest joint: 0.2 rad/s
PARTS = 5 + has_dashboard()  # the arm, the policy server, three nodes, and the page


@contextlib.contextmanager
def demo_for(seconds: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, as a process in a folder of its own."""
    require_rendering()
    process = subprocess.Popen(
        [str(executable("demo"))],
        cwd=folder,
        env={**os.environ, "DEMO_SECONDS": str(seconds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with demo_for(6, tmp_path) as process:
        yield process


def parts_of(demo: subprocess.Popen[str]) -> list[int]:
    """The processes that the demo has started and that still live."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_the_demo_ends_by_itself_having_moved_the_arm(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    output, _ = demo.communicate(timeout=400)

    assert demo.returncode == 0, output
    assert "the arm followed" in output
    assert ("demo: open http://127.0.0.1:" in output) is has_dashboard()
    assert (tmp_path / "demo" / "joints.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_ctrl_c_ends_the_demo_and_leaves_no_process_behind(demo: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(parts_of(demo)) == PARTS, timeout_s=90, what="all parts are started")
    parts = parts_of(demo)

    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)

    wait_until(lambda: not any(map(is_alive, parts)), what="all parts have ended")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_ctrl_c_in_motion_brings_the_arm_to_rest_and_ends_the_demo_in_order(
    ros_node: Node, tmp_path: Path
) -> None:
    rows: list[Sequence[float]] = []
    ros_node.create_subscription(
        JointTrajectory,
        "arm/joint_trajectory",
        lambda message: rows.append(message.points[0].positions),
        EVERY_MESSAGE,
    )

    def speed() -> float:
        """Of the fastest joint, rad a tick."""
        return float(np.abs(np.subtract(rows[-1], rows[-2])).max())

    def is_under_way() -> bool:
        return len(rows) > 1 and np.ptp(rows, axis=0).max() > 0.5 and speed() > MOVING

    with demo_for(600, tmp_path) as demo:
        wait_until(is_under_way, timeout_s=300, what="the arm moves")
        parts = parts_of(demo)
        assert len(parts) == PARTS
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=120)

    assert demo.returncode == 0, output
    assert "demo: ending all processes" in output
    assert "the arm followed" in output
    assert (tmp_path / "demo" / "joints.png").read_bytes().startswith(b"\x89PNG")
    assert not any(map(is_alive, parts))
    log = (tmp_path / "demo" / "log" / "control_node.log").read_text()
    assert "cuts braking short" not in log, log
    assert "not at rest" not in log, log
    wait_until(lambda: speed() < MOVING / 20.0, what="the last command")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_ctrl_c_may_be_pressed_again_and_again(demo: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(parts_of(demo)) == PARTS, timeout_s=90, what="all parts are started")
    parts = parts_of(demo)

    while any(map(is_alive, parts)):
        demo.send_signal(signal.SIGINT)
        demo.poll()
        threading.Event().wait(0.2)
    output, _ = demo.communicate(timeout=60)

    assert "Traceback" not in output
    assert "demo: ending all processes; Ctrl-C again hurries them" in output


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_a_demo_that_is_killed_takes_its_parts_with_it(demo: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(parts_of(demo)) == PARTS, timeout_s=90, what="all parts are started")
    parts = parts_of(demo)

    demo.kill()

    wait_until(lambda: not any(map(is_alive, parts)), timeout_s=30, what="all parts have ended")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--policy", "replay", "--seed", "3"], "--seed has no effect with --policy replay"),
        (["--seed", "-1"], "--seed must be from 0 to"),
        (["--policy", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo_module.main(arguments)
    assert problem in capsys.readouterr().err


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


def test_a_command_runs_to_its_end_beside_the_parts(tmp_path: Path) -> None:
    processes = DemoProcesses(tmp_path, os.environ)
    part = processes.start("part", [sys.executable, "-c", "import time; time.sleep(300)"])

    assert processes.run("command", [sys.executable, "-c", "print('done')"]) == "done\n"
    failing = "print('no room'); raise SystemExit(3)"
    with pytest.raises(DemoError, match=r"command ended with status 3:\nno room"):
        processes.run("command", [sys.executable, "-c", failing])

    processes.stop(part)
    processes.let_run(0.0)  # what was stopped has not ended by itself
    assert not is_alive(part.popen.pid)


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[tuple[DemoProcesses, DemoProcess]]:
    """A part that ignores SIGINT and SIGTERM."""
    processes = DemoProcesses(tmp_path, os.environ)
    program = (
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(300)"
    )
    part = processes.start("deaf", [sys.executable, "-c", program])
    wait_until(lambda: "deaf" in part.log.read_text(), timeout_s=60, what="it ignores signals")
    yield processes, part
    part.popen.kill()


def patience(seconds: float) -> tuple[tuple[int, float], ...]:
    return tuple((number, seconds) for number, _ in demo_processes.ENDING)


def test_a_part_that_ignores_signals_is_killed(
    deaf: tuple[DemoProcesses, DemoProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, part = deaf
    monkeypatch.setattr(demo_processes, "ENDING", patience(0.2))

    processes.end()

    assert part.popen.wait(60) == -signal.SIGKILL


def test_each_further_ctrl_c_ends_the_patience_with_a_part(
    deaf: tuple[DemoProcesses, DemoProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, part = deaf
    monkeypatch.setattr(demo_processes, "ENDING", patience(3600.0))
    with pytest.raises(KeyboardInterrupt):
        processes.interrupt()
    processes.interrupt()
    processes.interrupt()

    processes.end()

    assert part.popen.poll() == -signal.SIGKILL


def full_disk(_: object) -> SimpleNamespace:
    return SimpleNamespace(free=4096)


def test_a_full_disk_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", full_disk)

    with pytest.raises(DemoError, match=f"the disk is full: 0.0 MiB are free in {tmp_path}"):
        DemoProcesses(tmp_path, os.environ)


def test_a_part_that_ends_without_a_word_on_a_full_disk_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = DemoProcesses(tmp_path, os.environ)
    processes.start("part", [sys.executable, "-c", "raise SystemExit(1)"])
    monkeypatch.setattr(shutil, "disk_usage", full_disk)

    with pytest.raises(DemoError, match="the disk is full"):
        processes.let_run(60.0)


def test_the_port_is_read_from_what_the_server_says(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("starting\n")
    assert port_from_log(log) is None

    log.write_text("starting\nlistening on 127.0.0.1:40123\n")
    assert port_from_log(log) == 40123


def test_the_page_is_the_one_that_the_dashboard_says(tmp_path: Path) -> None:
    log = tmp_path / "dashboard.log"
    log.write_text("starting\n")
    assert page_from_log(log) is None

    log.write_text("starting\ndashboard: http://127.0.0.1:40123/token/\n")
    assert page_from_log(log) == "http://127.0.0.1:40123/token/"
