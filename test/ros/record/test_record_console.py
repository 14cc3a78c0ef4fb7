# SPDX-License-Identifier: Apache-2.0
"""The recorder at the keyboard: what keys do, and the whole program in a terminal of its own."""

from __future__ import annotations

import math
import os
import pty
import queue
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import wait_until
from nodes_for_tests import Robot
from policies_for_tests import parameters
from rclpy.node import Node
from recorder_rig import info_of

from gr00t_ros.bags.episode_info import config_text
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.record import console as record_console
from gr00t_ros.record.console import RecordConsole
from gr00t_ros.record.recorder_client import Answer
from gr00t_ros.record.terminal_keys import BACKSPACE, QUIT, SPACE

pytest.importorskip("rich", reason="pip install rich")


class Client:
    """Remembers what was asked of the recorder."""

    def __init__(self) -> None:
        self.status: RecorderStatus | None = RecorderStatus(state=RecorderStatus.STATE_READY)
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.asked: list[tuple[str, ...]] = []

    def start(self, task: str) -> None:
        self.asked.append(("start", task))

    def stop(self, outcome: str) -> None:
        self.asked.append(("stop", outcome))

    def label(self, outcome: str) -> None:
        self.asked.append(("label", outcome))

    def discard(self) -> None:
        self.asked.append(("discard",))


@pytest.mark.parametrize(
    ("state", "keys", "asked"),
    [
        (RecorderStatus.STATE_READY, SPACE, [("start", "wave")]),
        (RecorderStatus.STATE_RUNNING, SPACE, [("stop", "")]),
        (RecorderStatus.STATE_RUNNING, "s", [("stop", "success")]),
        (RecorderStatus.STATE_RUNNING, "f", [("stop", "failure")]),
        (RecorderStatus.STATE_READY, "s", [("label", "success")]),
        (RecorderStatus.STATE_RUNNING, BACKSPACE, [("discard",)]),
        (RecorderStatus.STATE_READY, BACKSPACE, []),
        (RecorderStatus.STATE_READY, BACKSPACE * 2, [("discard",)]),
        (RecorderStatus.STATE_READY, f"{BACKSPACE}x{BACKSPACE}", []),
        (RecorderStatus.STATE_RUNNING, "x", []),
    ],
)
def test_a_key_asks_for_what_fits_the_state(
    state: int, keys: str, asked: list[tuple[str, ...]]
) -> None:
    client = Client()
    client.status = RecorderStatus(state=state, episode="episode_000001")
    console = RecordConsole(client, "wave")
    for key in keys:
        assert console.press(key)
        console.poll()
        assert console.press("")  # nothing was pressed for a while
    assert client.asked == asked


def console_with_a_question() -> tuple[Client, RecordConsole]:
    """A console that asks for a second backspace, which removes the newest episode."""
    client = Client()
    client.status = RecorderStatus(state=RecorderStatus.STATE_READY, episode="episode_000001")
    console = RecordConsole(client, "wave")
    console.press(BACKSPACE)
    return client, console


def test_a_second_backspace_that_comes_too_late_removes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, console = console_with_a_question()
    assert console.message == "backspace again removes episode_000001 from the disk"
    monkeypatch.setattr(record_console, "CONFIRM_S", 0.0)
    console.press("x")
    console.press(BACKSPACE)
    console.poll()
    assert console.message == ""
    console.press(BACKSPACE)
    assert client.asked == []


def test_a_question_that_something_else_has_answered_is_not_asked_any_more() -> None:
    _, console = console_with_a_question()
    console.press("x")
    assert console.message == ""


def test_an_answer_takes_the_place_of_a_question_and_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, console = console_with_a_question()
    client.answers.put(Answer(False, "there is no episode to label"))
    console.poll()
    later = SimpleNamespace(monotonic=lambda: math.inf)
    monkeypatch.setattr(record_console, "time", later)
    console.poll()
    assert console.message == "there is no episode to label"
    monkeypatch.undo()
    console.press(BACKSPACE)
    assert client.asked == [], "the question was not to be seen"


def test_nobody_quits_in_the_middle_of_an_episode() -> None:
    client = Client()
    console = RecordConsole(client, "")
    assert not console.press(QUIT)
    client.status = RecorderStatus(state=RecorderStatus.STATE_RUNNING)
    assert console.press(QUIT)
    assert "being recorded" in console.message


def test_the_bell_rings_once_for_what_was_done_and_twice_for_a_problem() -> None:
    client = Client()
    console = RecordConsole(client, "")
    client.answers.put(Answer(True, "episode_000000: 3.0 s"))
    console.poll()
    assert (console.rings, console.message) == (1, "episode_000000: 3.0 s")
    console.rings = 0
    client.status = RecorderStatus(state=RecorderStatus.STATE_RUNNING, reason="too slow")
    console.poll()
    assert console.rings == 2
    console.rings = 0
    console.poll()
    assert console.rings == 0, "a problem that stays rings once"


class Terminal:
    """A program in a terminal of its own, and everything that it has shown."""

    def __init__(self, *command: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown from now on."""
        seen = len(self._shown)
        wait_until(
            lambda: text.encode() in self._shown[seen:] or self.process.poll() is not None,
            what=text,
        )
        assert text.encode() in self._shown[seen:], self.shown[-2000:]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(60)
        self._reader.join(60)
        os.close(self.master)

    def _read(self) -> None:
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                self._shown += os.read(self.master, 65536)
            except OSError:  # the program has closed its end
                time.sleep(0)
                return


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        program = "import sys; from gr00t_policy_core.cli import main; sys.exit(main())"
        terminals.append(Terminal(sys.executable, "-c", program, "record", *arguments))
        return terminals[-1]

    yield start
    for one in terminals:
        one.close()


def test_an_operator_records_and_judges_two_episodes(
    ros_node: Node, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    file, folder = tmp_path / "robot.yaml", tmp_path / "recordings"
    file.write_text(config_text(parameters(max_age_s=5.0, record__min_free_mb=0)))
    Robot(ros_node)
    screen = terminal(
        *("--config", str(file), "--folder", str(folder), "--task", "wave"),
        *("--node", "console_recorder"),
    )
    screen.wait_for("ready")
    screen.press(" ")
    screen.wait_for("RECORDING")
    screen.press("s")
    screen.wait_for("episode_000000:")
    screen.wait_for("ready")
    screen.press(" ")
    screen.wait_for("RECORDING")
    screen.press("q")
    screen.wait_for("end it with space")
    screen.press("\x7f")
    screen.wait_for("episode_000001 was discarded")
    screen.wait_for("ready")
    screen.press("q")
    screen.process.wait(90)

    assert screen.process.returncode == 0, screen.shown[-2000:]
    assert "/front/image_raw" in screen.shown
    assert "\a" in screen.shown
    assert [path.name for path in folder.iterdir()] == ["episode_000000"]
    info = info_of(folder / "episode_000000")
    assert (info.task, info.outcome) == ("wave", "success")


def echoes(screen: Terminal) -> bool:
    """Whether the terminal shows what is typed."""
    return bool(termios.tcgetattr(screen.master)[3] & termios.ECHO)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_its_settings_back(
    terminal: Callable[..., Terminal], number: signal.Signals
) -> None:
    screen = terminal("--node", "nobody")
    screen.wait_for("no recorder answers")
    assert not echoes(screen)
    screen.process.send_signal(number)
    assert screen.process.wait(60) == 130, screen.shown[-2000:]
    assert echoes(screen)


def test_a_recorder_that_goes_on_after_ctrl_c_is_named(
    ros_node: Node, terminal: Callable[..., Terminal]
) -> None:
    publisher = ros_node.create_publisher(RecorderStatus, "busy_recorder/status", STATUS)
    running = RecorderStatus(state=RecorderStatus.STATE_RUNNING, episode="episode_000007")
    timer = ros_node.create_timer(0.1, lambda: publisher.publish(running))
    screen = terminal("--node", "busy_recorder")
    screen.wait_for("RECORDING")
    screen.process.send_signal(signal.SIGINT)
    assert screen.process.wait(60) == 130, screen.shown[-2000:]
    wait_until(lambda: "busy_recorder goes on recording" in screen.shown, what="it is said")
    ros_node.destroy_timer(timer)


def test_without_a_terminal_or_a_file_it_says_so(tmp_path: Path) -> None:
    program = "import sys; from gr00t_policy_core.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "record"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "keys are read from a terminal" in done.stderr
