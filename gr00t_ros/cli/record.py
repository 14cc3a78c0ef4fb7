# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy record`: the recorder at the keyboard."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POLL_S = 0.1
END_S = 90.0  # for an episode on its way to the disk
BELL = "\a"


def add_command(commands: Any) -> None:
    """Add `record` to the subparsers of the program."""
    parser = commands.add_parser(
        "record",
        help="record demonstrations, at the keyboard",
        description="Begin, end and judge episodes with single keys: space begins and ends one, s "
        "and f say success or failure, backspace discards, q quits. Shows the rates, what was "
        "lost, and what is left on the disk.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="start a recorder with this YAML file of the robot; without it, one is running",
    )
    parser.add_argument("--folder", help="folder of the episodes, with --config")
    parser.add_argument(
        "--node", default="recorder_node", help="name of the recorder node (default: %(default)s)"
    )
    parser.add_argument(
        "--task", default="", help="what is demonstrated (default: as in the YAML file)"
    )


def run(args: argparse.Namespace) -> int:
    """Show the recorder until `q`, or a signal."""
    if args.folder and not args.config:
        raise OSError("--folder is for a recorder that --config starts")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # the terminal gets its settings back
    try:
        from rich.live import Live

        from gr00t_ros.record.console_view import view
    except ImportError as error:
        raise ImportError(f"record needs rich: run pip install rich ({error})") from None
    from gr00t_ros.record.console import RecordConsole
    from gr00t_ros.record.recorder_client import RecorderClient
    from gr00t_ros.record.terminal_keys import terminal_keys

    with (
        terminal_keys(sys.stdin.fileno()) as keys,
        _recorder(args) as recorder,
        contextlib.closing(RecorderClient(args.node)) as client,
        Live(auto_refresh=False, vertical_overflow="crop") as live,
    ):
        console = RecordConsole(client, args.task)
        key = ""
        try:
            while console.press(key):
                if recorder is not None and recorder.poll() is not None:
                    raise OSError(f"the recorder has ended with {recorder.returncode}")
                console.poll()
                if console.rings:
                    live.console.file.write(BELL * console.rings)
                    console.rings = 0
                live.update(view(client.status, console.message), refresh=True)
                key = keys.read(POLL_S)
        except KeyboardInterrupt:
            if recorder is None and console.is_recording:
                left = f"{args.node} goes on recording; {args.node}/stop ends the episode"
                live.update(view(client.status, left), refresh=True)
            raise
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _recorder(args: argparse.Namespace) -> Iterator[subprocess.Popen[bytes] | None]:
    """A recorder of our own with `--config`; it ends with us, and its log is shown if it failed."""
    if not args.config:
        yield None
        return
    config = Path(args.config).expanduser()
    if not config.is_file():
        raise OSError(f"--config {config}: there is no such file")
    with tempfile.TemporaryFile() as log:
        process = _start(config, args, log)
        try:
            yield process
        finally:
            process.terminate()
            _wait_for_end(process)
            if process.returncode:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        raise OSError(
            f"the recorder (process {process.pid}) has not ended within {END_S:g} s; the next "
            "start of a recorder repairs what it leaves"
        ) from None


def _start(config: Path, args: argparse.Namespace, log: Any) -> subprocess.Popen[bytes]:
    from ament_index_python.packages import get_package_prefix, get_package_share_directory

    from gr00t_ros.node.process_environment import process_environment

    profile = Path(get_package_share_directory("gr00t_ros"), "config", "fastdds.xml")
    namespace, _, name = args.node.rpartition("/")
    executable = Path(get_package_prefix("gr00t_ros"), "lib", "gr00t_ros", "recorder_node")
    arguments = ["-r", f"__node:={name}"]
    arguments += ["-p", "autostart:=true", "-p", f"end_with_pid:={os.getpid()}"]
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.lstrip('/')}"]
    if args.folder:
        arguments += ["-p", f"record.folder:={args.folder}"]
    return subprocess.Popen(
        [str(executable), "--ros-args", "--params-file", str(config), *arguments],
        env={**os.environ, **process_environment(profile)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for the keyboard; the recorder ends after it
    )
