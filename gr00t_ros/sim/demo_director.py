# SPDX-License-Identifier: Apache-2.0
"""Gives the demo's arm one instruction after another, and gives way to people."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator

from lifecycle_msgs.msg import Transition

from gr00t_ros.msg import ControlStatus
from gr00t_ros.sim.cube_log import LIFT_S
from gr00t_ros.sim.demo_processes import DemoProcesses
from gr00t_ros.sim.demo_recorder import DemoRecorder
from gr00t_ros.sim.service_calls import begin_scene, call_trigger, change_state
from gr00t_ros.sim.world import CUBE_NAMES

STEP_S = 0.1
PAUSE_S = 1.0  # between a cube in the bin and the next instruction: the hand moves away
GIVE_UP_S = 2 * LIFT_S  # a cube that is out of reach, or that was dropped on the way


class DemoDirector:
    """Has the arm put one cube after the other into the bin, then begins a new scene.

    An instruction that somebody else gives, on the topic or in the terminal, is followed in
    mid-motion, and a task of the task node is left alone until it has ended.

    Args:
        recorder: Hears the nodes, and calls their services.
        processes: All parts of the demo.
        seed: The first scene.
        write_line: Writes a line to the terminal.
    """

    def __init__(
        self,
        recorder: DemoRecorder,
        processes: DemoProcesses,
        seed: int,
        write_line: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._processes = processes
        self._seed = seed
        self._write_line = write_line
        self._done_s: float | None = None  # when the cube that was asked for came into the bin

    def play(self, end_s: float, show_status: Callable[[], None]) -> None:
        """Direct the arm until a time.

        Args:
            end_s: The time on the monotonic clock, s.
            show_status: Called again and again, to tell how it goes.
        """
        self._begin_scene()
        while (now_s := time.monotonic()) < end_s:
            show_status()
            for line in _typed_lines():
                self._follow(line)
            if self._recorder.runs_task:
                self._wait_for_task(end_s)
            elif self._is_over(now_s):
                self._go_on()
            self._processes.let_run(min(STEP_S, max(end_s - now_s, 0.0)))
        call_trigger(self._recorder, "policy_node/stop")

    def _begin_scene(self) -> None:
        recorder = self._recorder
        self._write_line(f"\ndemo: scene {self._seed}")
        call_trigger(recorder, "policy_node/stop")
        recorder.pause()
        with control_node_inactive(recorder):
            begin_scene(recorder, self._seed)
        self._seed = (self._seed + 1) % 2**31
        self._ask(CUBE_NAMES[self._seed % len(CUBE_NAMES)])
        call_trigger(recorder, "policy_node/start")
        call_trigger(recorder, "policy_node/reset")

    def _go_on(self) -> None:
        """Ask for the next cube, or begin a new scene where all are put away."""
        cubes = self._recorder.cubes
        left = [colour for colour in CUBE_NAMES if not cubes.is_in_bin(colour)]
        if not left or cubes.requests[-1].binned_s is None:
            self._begin_scene()
        else:
            self._ask(left[0])

    def _ask(self, colour: str) -> None:
        self._done_s = None
        self._recorder.instruct(f"pick up the {colour} cube and put it into the bin")

    def _follow(self, line: str) -> None:
        """Pass on what somebody has typed: a colour, or an instruction."""
        if line in CUBE_NAMES:
            self._ask(line)
        elif line:
            self._recorder.instruct(line)

    def _is_over(self, now_s: float) -> bool:
        """Whether the cube that was asked for is put away, or will not be."""
        requests = self._recorder.cubes.requests
        if not requests or not requests[-1].colour:
            return False  # somebody has given an instruction that names no cube: they decide
        if requests[-1].binned_s is not None:
            self._done_s = self._done_s or now_s
            return now_s - self._done_s > PAUSE_S
        return self._recorder.cubes.now_s - requests[-1].asked_s > GIVE_UP_S

    def _wait_for_task(self, end_s: float) -> None:
        """Leave the arm to the task node while it runs a goal."""
        self._write_line("\ndemo: a task runs, until its end nothing else is asked for")
        self._recorder.pause()
        while self._recorder.runs_task and time.monotonic() < end_s:
            self._processes.let_run(STEP_S)
        self._go_on_after_task()

    def _go_on_after_task(self) -> None:
        cubes = self._recorder.cubes
        left = [colour for colour in CUBE_NAMES if not cubes.is_in_bin(colour)]
        if not left:
            self._begin_scene()
            return
        self._ask(left[0])
        call_trigger(self._recorder, "policy_node/start")


@contextlib.contextmanager
def control_node_inactive(recorder: DemoRecorder) -> Iterator[None]:
    """Have the control node inactive while a scene is set, where it is active.

    The scene has the arm home at once. A node that is active would see an arm that does not follow
    its commands, and move it no more. A node that has seen this before, since a busy machine kept
    the simulated arm waiting, may move it again; what a person has stopped stays stopped.
    """
    status = recorder.control_status
    if status is None or status.state == ControlStatus.STATE_STOPPED:
        yield
    else:
        change_state(recorder, "control_node", Transition.TRANSITION_DEACTIVATE)
        yield
        change_state(recorder, "control_node", Transition.TRANSITION_ACTIVATE)
        if status.state == ControlStatus.STATE_ERROR:
            call_trigger(recorder, "control_node/start")


def _typed_lines() -> list[str]:
    """The lines that somebody has typed since; none where nobody can."""
    lines = []
    while sys.stdin is not None and sys.stdin.isatty() and select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        lines.append(line.strip())
    return lines
