# SPDX-License-Identifier: Apache-2.0
"""The processes of `gr00t-policy serve --replicas`: where they listen, and that none is left."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lerobot_writer import action_at, write_dataset
from replicas_helpers import WAIT_S, needs_ray
from server_rig import free_port, wait_until

from gr00t_policy_core import PolicyClient
from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.serving.replicas.cluster import PATIENT

needs_ray()
MARK = "GR00T_TEST_PROCESSES"  # all that a server starts inherits it
LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("replicas") / "dataset", [400])


class Server:
    """`gr00t-policy serve` and everything that it started."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gr00t_policy_core",
                "serve",
                "--port",
                "0",
                *map(str, arguments),
            ],
            env={**os.environ, **environment, MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        self.log.extend(iter(self.process.stderr.readline, ""))

    def wait_until_it_listens(self) -> int:
        line = self.process.stdout.readline()
        assert line.startswith("listening on"), "".join(self.log)
        return int(line.rpartition(":")[2])

    def processes(self) -> list[int]:
        """All that it started, and itself, as far as they run."""
        return [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and self._began(path)
        ]

    def _began(self, process: Path) -> bool:
        """By its environment, or by the name of Ray's logs where Ray wrote over that."""
        session = f"_{self.process.pid}/logs/"
        if f"{MARK}={self.mark}".encode() in read(process / "environ"):
            return True
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if session in os.readlink(descriptor):
                        return True
        return False

    def end(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT_S)
        self._reading.join(WAIT_S)
        self.process.stdout.close()
        self.process.stderr.close()


@contextlib.contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[Server]:
    server = Server(*arguments, **environment)
    try:
        yield server
    finally:
        server.end()


@contextlib.contextmanager
def cluster(**environment: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """A Ray cluster of this machine alone: its address and its first process."""
    port = free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--port={port}", "--include-dashboard=false"]
    head = subprocess.Popen(
        command, env={**os.environ, **PATIENT, **environment}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert any("Ray runtime started" in line for line in iter(head.stdout.readline, ""))
        yield f"127.0.0.1:{port}", head
    finally:
        head.terminate()
        head.communicate(timeout=WAIT_S)


def name_of(pid: int) -> str:
    return read(Path(f"/proc/{pid}/comm")).decode().strip()


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def listening_addresses(pids: list[int]) -> set[str]:
    """Where processes listen by TCP, as the kernel writes addresses."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(descriptor).removeprefix("socket:[").rstrip("]"))
    rows = [row.split() for name in ("tcp", "tcp6") for row in table(name)]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTENING and row[9] in sockets}


def table(name: str) -> list[str]:
    return read(Path("/proc/net") / name).decode().splitlines()[1:]


def observe(dataset: Path) -> dict:
    """What the replayed dataset's policy takes."""
    configs = ReplayPolicy(dataset).get_modality_config()
    frame = np.zeros((1, 1, 24, 32, 3), np.uint8)
    sizes = {"single_arm": 6, "gripper": 1}
    return {
        "video": dict.fromkeys(configs["video"].modality_keys, frame),
        "state": {key: np.zeros((1, 1, size), np.float32) for key, size in sizes.items()},
        "language": {key: [["go"]] for key in configs["language"].modality_keys},
    }


def test_a_dataset_is_replayed_by_replicas_on_loopback_until_sigterm(dataset) -> None:
    with serving("--dataset-path", dataset, "--replicas", 2) as server:
        port = server.wait_until_it_listens()
        with PolicyClient("127.0.0.1", port) as client:
            client.reset({"step_index": 7})
            action, info = client.get_action(observe(dataset))
            np.testing.assert_array_equal(action["single_arm"][0, 0], action_at(0, 7)[:6])
            assert info["step_index"] == 7
            for step in (23, 39, 55, 71):  # its place is in one replica, and it stays there
                assert client.get_action(observe(dataset))[1]["step_index"] == step
            wait_until(lambda: client.call_endpoint("metrics")["replicas"]["ready"] == 2, WAIT_S)
        started = server.processes()
        assert len(started) > 5
        assert listening_addresses(started) <= LOOPBACK
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_S) == 0
        wait_until(lambda: server.processes() == [], WAIT_S)


def test_nothing_is_left_of_a_server_that_was_killed(dataset) -> None:
    with serving("--dataset-path", dataset, "--replicas", 1) as server:
        server.wait_until_it_listens()
        assert len(server.processes()) > 5
        server.process.kill()
        wait_until(lambda: server.processes() == [], WAIT_S)


@pytest.mark.parametrize("ray_begins", [False, True])
def test_a_server_that_still_loads_its_replicas_stops_with_0(dataset, ray_begins) -> None:
    with serving("--dataset-path", dataset, "--replicas", 1) as server:
        wait_until(lambda: any("is listening on" in line for line in server.log), WAIT_S)
        wait_until(lambda: len(server.processes()) > (2 if ray_begins else 0), WAIT_S)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_S) == 0
        wait_until(lambda: server.processes() == [], WAIT_S)


def test_where_ray_ends_while_it_starts_the_server_says_so(dataset) -> None:
    with serving("--dataset-path", dataset, "--replicas", 1) as server:

        def raylets() -> list[int]:
            return [pid for pid in server.processes() if name_of(pid) == "raylet"]

        wait_until(raylets, WAIT_S)
        os.kill(raylets()[0], signal.SIGKILL)
        assert server.process.wait(WAIT_S) == 1
        wait_until(lambda: server.processes() == [], WAIT_S)
    assert "cannot start Ray on this machine: its process raylet has ended" in server.log[-1]


def test_sighup_restarts_the_replicas_and_nobody_gets_an_error(dataset) -> None:
    def ask_on() -> None:
        with PolicyClient("127.0.0.1", port) as client:
            while not stop.is_set():
                client.get_action(observe(dataset))
                answers.append(1)

    stop = threading.Event()
    answers: list[int] = []
    with serving("--dataset-path", dataset, "--replicas", 2) as server:
        port = server.wait_until_it_listens()
        robot = threading.Thread(target=ask_on)
        robot.start()
        wait_until(lambda: len(answers) > 5, WAIT_S)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("all 2 replicas have been" in line for line in server.log), WAIT_S)
        before = len(answers)
        wait_until(lambda: len(answers) > before + 5, WAIT_S)
        stop.set()
        robot.join(WAIT_S)
        with PolicyClient("127.0.0.1", port) as client:
            assert client.call_endpoint("metrics")["errors"] == {}


def test_replicas_on_a_cluster_that_is_there_leave_it_as_it_was(dataset) -> None:
    # On loopback, it too, and with a token.
    known = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    known |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    with cluster(**known) as (address, head):
        with serving(
            "--dataset-path", dataset, "--replicas", 2, "--ray-address", address, **known
        ) as server:
            port = server.wait_until_it_listens()
            with PolicyClient("127.0.0.1", port) as client:
                client.get_action(observe(dataset))
            assert server.processes() == [server.process.pid]
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(WAIT_S) == 0
        assert head.poll() is None
        with serving(
            "--dataset-path", dataset, "--replicas", 1, "--ray-address", address, **known
        ) as server:
            port = server.wait_until_it_listens()
            with PolicyClient("127.0.0.1", port) as client:
                client.get_action(observe(dataset))


def test_a_cluster_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server("--dataset-path", "nowhere", "--replicas", 1, "--ray-address", address)
        try:
            assert server.process.wait(WAIT_S) == 1
        finally:
            server.end()
    assert f"cannot reach Ray at {address}" in server.log[-1]
