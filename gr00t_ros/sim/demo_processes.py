# SPDX-License-Identifier: Apache-2.0
"""The processes of the demo: what is started, with which environment, and how all of it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from ament_index_python.packages import get_package_prefix, get_package_share_directory

from gr00t_ros.node.process_environment import process_environment
from gr00t_ros.node.stop_signals import STOP_SIGNALS

Result = TypeVar("Result")

DATASET = Path(__file__).with_name("dataset")
POLICIES = ("feedback", "replay")
EXECUTION_HORIZON = 8  # steps of 1/30 s: config/demo.yaml replans at this interval
LISTENING = "listening on "
PAGE = "dashboard: "  # before the address of the page

# How a part is ended: each signal, and the wait before the next, harder one.
ENDING = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
LOOK_AGAIN_S = 0.1
START_S = 180.0  # for a part to come up, on a busy machine
ROOM_BYTES = 4 * 2**20  # for the logs of some minutes, and two pictures (0.3 MB)


class DemoError(RuntimeError):
    """A part of the demo that did not start or did not stay; the message names it and its log."""


def executable(name: str) -> Path:
    """An installed executable of this package."""
    return Path(get_package_prefix("gr00t_ros"), "lib", "gr00t_ros", name)


def config(name: str) -> Path:
    """An installed configuration file of this package."""
    return Path(get_package_share_directory("gr00t_ros"), "config", name)


def serve_command(policy: str) -> list[str]:
    """The policy server without its port.

    Args:
        policy: One of `POLICIES`: the policy that looks at the pictures, served as users serve
            their own, or the replay of the demo's dataset.
    """
    what = {
        "feedback": ["--policy", "gr00t_ros.sim.feedback:FeedbackExpert"],
        "replay": [
            *("--dataset-path", str(DATASET)),
            *("--execution-horizon", str(EXECUTION_HORIZON)),
        ],
    }
    return [str(executable("gr00t-policy")), "serve", *what[policy]]


def node_command(name: str, port: int | None, config_file: str = "demo.yaml") -> list[str]:
    """The policy node or the control node with the parameters of a configuration file.

    Args:
        name: Its executable.
        port: The port of the policy server; None as in the file.
        config_file: One of config/.
    """
    arguments = [f"autostart:={str(name == 'control_node').lower()}"]
    if port is not None:
        arguments.append(f"policy.port:={port}")
    return [
        *(str(executable(name)), "--ros-args", "--params-file", str(config(config_file))),
        *(part for argument in arguments for part in ("-p", argument)),
    ]


def ends_with_its_parent() -> list[str]:
    """The prefix of a command that has the kernel end it together with this process.

    Empty where there is no setpriv of util-linux. To be used in the thread that lives longest.
    """
    setpriv, shell = shutil.which("setpriv"), shutil.which("sh")
    if setpriv is None or shell is None:
        return []
    # This process may have been killed before the kernel was told to watch it.
    unless_orphaned = '[ "$PPID" = "$0" ] && exec "$@"'
    return [setpriv, "--pdeathsig", "TERM", shell, "-c", unless_orphaned, str(os.getpid())]


def task_command() -> list[str]:
    """The task node, for tasks that somebody gives to the demo's arm."""
    return [str(executable("task_node")), "--ros-args", "--params-file", str(config("demo.yaml"))]


def has_dashboard() -> bool:
    """Whether the libraries of the dashboard are installed."""
    return all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "websockets"))


def dashboard_command() -> list[str]:
    """The web page that shows the demo's arm, on a free port of this machine."""
    config_file = str(config("demo.yaml"))
    return [str(executable("gr00t-policy")), "dashboard", "--config", config_file, "--port", "0"]


def demo_environment() -> dict[str, str]:
    """The environment of every process: image settings, and DDS kept on this machine.

    The demo commands an arm: it must not reach one that happens to listen on the network.
    """
    local = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if os.environ.get("ROS_DISTRO") == "humble":
        local = {"ROS_LOCALHOST_ONLY": "1"}
    added = {name: value for name, value in local.items() if name not in os.environ}
    return {**os.environ, **process_environment(config("fastdds.xml")), **added}


@dataclass(frozen=True, slots=True)
class DemoProcess:
    """One running part."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path


class DemoProcesses:
    """Starts parts and ends them all, in the opposite order.

    Each part is a session of its own, so that Ctrl-C reaches the demo alone, which then ends the
    parts in order.

    Args:
        log_folder: Folder of the logs, one file for each process.
        environment: Environment variables of every process.

    Raises:
        DemoError: The disk is full.
        OSError: The folder cannot be made.
    """

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        self._log_folder = log_folder
        self._environment = dict(environment)
        self._processes: list[DemoProcess] = []
        self._one_has_ended = threading.Event()
        self._interrupts = 0
        log_folder.mkdir(parents=True, exist_ok=True)
        self._require_room()

    def start(self, name: str, command: Sequence[str]) -> DemoProcess:
        """Start a part, which runs until it is ended; its output goes to ``<name>.log``."""
        part = self._launch(name, command)
        threading.Thread(target=self._notice_the_end_of, args=[part], daemon=True).start()
        return part

    def run(self, name: str, command: Sequence[str]) -> str:
        """Run a command to its end, while all parts run, and return its output.

        Raises:
            DemoError: It has failed, or a part has ended by itself; with the last lines of its log.
        """
        process = self._launch(name, command)
        while process.popen.poll() is None:
            self.let_run(LOOK_AGAIN_S)
        self._processes.remove(process)
        if process.popen.returncode:
            self._raise_for(process)
        return process.log.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], Result | None], what: str) -> Result:
        """Wait for something, while all parts run, and return it.

        Args:
            ready: Returns it, or something false.
            what: Says in the error what was waited for.

        Raises:
            DemoError: It does not come within `START_S`, or a part has ended by itself.
        """
        found: list[Result] = []

        def look() -> bool:
            result = ready()
            found[:] = [result] if result else []
            return bool(found)

        if not self.holds_within(look, START_S):
            raise DemoError(f"not within {START_S:g} s: {what}; see the logs in {self._log_folder}")
        return found[0]

    def holds_within(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether a condition comes to hold within a time, s, while all parts run."""
        deadline_s = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            self.let_run(LOOK_AGAIN_S)
        return True

    def let_run(self, seconds: float) -> None:
        """Wait for a time, s, while all parts run.

        Raises:
            DemoError: At once when a part has ended by itself; with the last lines of its log.
        """
        if not self._one_has_ended.wait(seconds):
            return
        for process in self._processes:
            if process.popen.poll() is not None:
                self._raise_for(process)

    def stop(self, part: DemoProcess) -> None:
        """End one part; the others go on."""
        self._processes.remove(part)
        self._end([part])

    def interrupt(self, *_: object) -> None:
        """The handler of Ctrl-C: the first one ends the demo, each further one the patience."""
        self._interrupts += 1
        if self._interrupts == 1:
            raise KeyboardInterrupt

    def end(self) -> None:
        """End every part: SIGINT, then SIGTERM, then SIGKILL, to its whole session."""
        self._interrupts = max(1, self._interrupts)
        self._end(list(reversed(self._processes)))

    def _launch(self, name: str, command: Sequence[str]) -> DemoProcess:
        log = self._log_folder / f"{name}.log"
        log.unlink(missing_ok=True)
        # The dashboard's log holds its token: other users of the machine must not read it.
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            popen = subprocess.Popen(
                [*ends_with_its_parent(), *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = DemoProcess(name, popen, log)
        self._processes.append(process)
        return process

    def _end(self, processes: Sequence[DemoProcess]) -> None:
        running = [p for p in processes if p.popen.poll() is None]
        for interrupts, (number, patience_s) in enumerate(ENDING, start=1):
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.popen.pid, number)
            deadline_s = time.monotonic() + patience_s
            while running and self._interrupts <= interrupts and time.monotonic() < deadline_s:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running[0].popen.wait(LOOK_AGAIN_S)
                running = [p for p in running if p.popen.poll() is None]

    def _raise_for(self, process: DemoProcess) -> NoReturn:
        self._require_room()  # a process without any may end without a last word
        raise DemoError(
            f"{process.name} ended with status {process.popen.returncode}:\n"
            f"{_tail(process.log)}\n(all of it: {process.log})"
        )

    def _require_room(self) -> None:
        free = shutil.disk_usage(self._log_folder).free
        if free < ROOM_BYTES:
            raise DemoError(
                f"the disk is full: {free / 2**20:.1f} MiB are free in "
                f"{self._log_folder.absolute()}, logs and pictures need {ROOM_BYTES // 2**20}"
            )

    def _notice_the_end_of(self, part: DemoProcess) -> None:
        part.popen.wait()
        if part in self._processes:
            self._one_has_ended.set()


@contextlib.contextmanager
def demo_processes(log_folder: Path) -> Iterator[DemoProcesses]:
    """The parts of a demo, ended whatever happens; Ctrl-C and SIGTERM raise KeyboardInterrupt."""
    processes = DemoProcesses(log_folder, demo_environment())
    handlers = {s: signal.signal(s, processes.interrupt) for s in STOP_SIGNALS}
    try:
        yield processes
    finally:
        # A second, impatient Ctrl-C must not leave a part behind.
        processes.end()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def port_from_log(log: Path) -> int | None:
    """The port that a server with ``--port 0`` says it listens on, or None before it does."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line.rpartition(":")[2] for line in lines if line.startswith(LISTENING)]
    return int(said[0]) if said else None


def page_from_log(log: Path) -> str | None:
    """The address of the page that a dashboard says it serves, or None before it does."""
    lines = log.read_text(errors="replace").splitlines()
    said = [line.removeprefix(PAGE) for line in lines if line.startswith(f"{PAGE}http")]
    return said[0] if said else None


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
