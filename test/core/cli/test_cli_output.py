# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy` whose output is closed, full, or read by nobody, as processes."""

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys

import pytest
from cli_rig import DEADLINE_S, PROGRAM, environment, observation
from server_rig import free_port
from toy_policy import ToyPolicy

from gr00t_policy_core import ModalityConfig, PolicyClient, PolicyServer

PIPE_BYTES = 4096


@contextlib.contextmanager
def unread_pipe(fill):
    """The writing end of a pipe that nobody reads, full or almost."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.write(writing, b"x" * (PIPE_BYTES if fill else PIPE_BYTES - 1))
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def unreadable_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@contextlib.contextmanager
def full_device():
    with open("/dev/full", "wb") as full:
        yield full


STREAMS = {
    "full device": full_device,
    "no reader": unreadable_pipe,
    "unread and full": lambda: unread_pipe(fill=True),
    "closed": lambda: contextlib.nullcontext(None),
}


@contextlib.contextmanager
def started(port, dataset, stdout, stderr=subprocess.DEVNULL, *flags):
    command = [*PROGRAM, "serve", "--port", str(port), "--dataset-path", str(dataset), *flags]
    if stdout is None:
        command = ["sh", "-c", f"exec {shlex.join(command)} >&-"]
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE_S)


@pytest.mark.parametrize("stream", STREAMS)
def test_serve_serves_whatever_becomes_of_what_it_says_on_stdout(dataset, stream):
    port = free_port()
    with (
        STREAMS[stream]() as stdout,
        started(port, dataset, stdout) as server,
        PolicyClient("127.0.0.1", port, timeout_ms=20_000) as client,
    ):
        client.wait_until_ready(DEADLINE_S)
        client.get_action(observation())
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("stream", [name for name in STREAMS if name != "closed"])
def test_serve_serves_whatever_becomes_of_its_log(dataset, stream):
    port = free_port()
    with (
        STREAMS[stream]() as stderr,
        started(port, dataset, subprocess.DEVNULL, stderr, "--log-level", "debug") as server,
        PolicyClient("127.0.0.1", port, timeout_ms=20_000) as client,
    ):
        client.wait_until_ready(DEADLINE_S)
        for _ in range(200):  # each is logged
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.get_action(observation())
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE_S) == 0


def test_serve_without_any_stream_serves(dataset):
    port = free_port()
    command = shlex.join([*PROGRAM, "serve", "--port", str(port), "--dataset-path", str(dataset)])
    process = subprocess.Popen(["sh", "-c", f"exec {command} <&- >&- 2>&-"], env=environment())
    try:
        with PolicyClient("127.0.0.1", port, timeout_ms=20_000) as client:
            client.wait_until_ready(DEADLINE_S)
            client.get_action(observation())
            client.kill_server()
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait(DEADLINE_S)


def asked(command, server, stdout):
    return subprocess.run(
        [*PROGRAM, command, "--host", "127.0.0.1", "--port", str(server.port)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )


@pytest.mark.parametrize("command", ["ping", "info"])
def test_what_cannot_be_written_is_one_line_and_status_1(command, server):
    with full_device() as full:
        done = asked(command, server, full)
    assert done.returncode == 1
    assert done.stderr == f"gr00t-policy {command}: No space left on device\n"


@pytest.mark.parametrize("command", ["ping", "info"])
def test_a_reader_that_has_read_enough_ends_a_command_without_a_word(command, server):
    with unreadable_pipe() as pipe:
        done = asked(command, server, pipe)
    assert (done.returncode, done.stderr) == (1, "")


def test_sighup_without_replicas_changes_nothing(dataset):
    port = free_port()
    with (
        started(port, dataset, subprocess.DEVNULL, subprocess.PIPE) as server,
        PolicyClient("127.0.0.1", port, timeout_ms=20_000) as client,
    ):
        client.wait_until_ready(DEADLINE_S)
        server.send_signal(signal.SIGHUP)
        client.get_action(observation())
        client.kill_server()
        errors = server.communicate(timeout=DEADLINE_S)[1].decode()
        assert server.returncode == 0
        assert "SIGHUP has no effect: it restarts replicas, and there are none" in errors


def test_what_a_server_is_told_to_say_when_it_is_ready_is_no_part_of_loading_its_policy(caplog):
    def fail():
        raise BrokenPipeError(32, "Broken pipe")

    with (
        PolicyServer(ToyPolicy, host="127.0.0.1", port=0, on_ready=fail) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        client.wait_until_ready(10)
        assert client.reset() == {"options": None}
    assert "on_ready failed: BrokenPipeError" in caplog.text


def test_what_a_client_sends_never_reaches_the_terminal_as_it_is(dataset):
    """With --log-level debug, which logs tracebacks, too."""
    escape = "\x1b]0;owned\x07\x1b[2J\r\n2026 ERROR forged"
    port = free_port()
    with (
        started(port, dataset, subprocess.PIPE, subprocess.PIPE, "--log-level", "debug") as server,
        PolicyClient("127.0.0.1", port, timeout_ms=20_000, strict=False) as client,
    ):
        client.wait_until_ready(DEADLINE_S)
        damaged = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [5], b"data": b"short"}
        for data in ({escape: 1}, {"observation": {escape: damaged}}, {"options": escape}):
            reply = client.send_request("get_action", data)
            assert reply["error"].isprintable()
        for endpoint in (escape, "reset"):
            assert client.send_request(endpoint, {escape: escape})["error"].isprintable()
        client.kill_server()
        output, log = server.communicate(timeout=DEADLINE_S)
    for written in (output.decode(), log.decode()):
        assert all(line.isprintable() for line in written.splitlines())
        assert "\x1b" not in written
        assert not any(line.startswith("2026 ERROR forged") for line in written.splitlines())


def test_what_a_server_tells_never_reaches_the_terminal_as_it_is():
    escape = "\x1b]0;owned\x07\x1b[2J"

    class Hostile(ToyPolicy):
        def get_modality_config(self):
            return {f"state{escape}": ModalityConfig([0], [escape, "x"])}

        def get_dimensions(self):
            raise ValueError(escape)

    with PolicyServer(Hostile(), host="127.0.0.1", port=0) as server:
        told = asked("info", server, subprocess.PIPE)
        assert told.returncode == 1
        assert all(line.isprintable() for line in told.stderr.splitlines())
        server.register_endpoint("get_dimensions", dict, requires_input=False)
        told = asked("info", server, subprocess.PIPE)
        assert told.returncode == 0
        assert r"\x1b]0;owned\x07" in told.stdout
        assert all(line.isprintable() for line in told.stdout.splitlines())


def test_the_reason_why_a_command_ends_is_the_last_line_whatever_the_log_still_holds():
    program = """
import logging, sys, threading, time
from gr00t_policy_core.cli import main, output, serve

has_failed, write = threading.Event(), output._write_all

def slow(descriptor, text):
    if "from the log" in text:
        has_failed.wait()
        time.sleep(0.1)
    write(descriptor, text)

def run(args, real=serve.run):
    try:
        return real(args)
    finally:
        has_failed.set()

output._write_all, serve.run = slow, run
logging.basicConfig(level="INFO", handlers=[output.StderrLog()])
logging.info("from the log")
sys.argv = ["gr00t-policy", "serve", "--no-malloc-tuning", "--dataset-path", "nowhere"]
sys.exit(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    first, last = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert "from the log" in first
    assert "nowhere" in last
