# SPDX-License-Identifier: Apache-2.0
"""The demo: a simulated arm driven through ROS 2 by a policy server. `make demo` runs it.

Starts the simulated arm, `gr00t-policy serve`, both nodes and the task node, as processes, and
watches them over DDS. Ends at Ctrl-C, or by itself after DEMO_SECONDS of motion.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gr00t_ros.msg import ControlStatus, PolicyStatus
from gr00t_ros.node.dds_domain import own_domain
from gr00t_ros.sim.demo_director import DemoDirector, control_node_inactive
from gr00t_ros.sim.demo_processes import (
    DATASET,
    POLICIES,
    DemoProcesses,
    dashboard_command,
    demo_environment,
    demo_processes,
    executable,
    has_dashboard,
    node_command,
    page_from_log,
    port_from_log,
    serve_command,
    task_command,
)
from gr00t_ros.sim.demo_program import exit_status, write_line
from gr00t_ros.sim.demo_recorder import DemoRecorder
from gr00t_ros.sim.demo_report import summarise, write_pictures
from gr00t_ros.sim.node_thread import spinning
from gr00t_ros.sim.service_calls import call_trigger
from gr00t_ros.sim.world import SimulatedArm

FOLDER = Path("demo")
LINE_PERIOD_S = 0.5
PAUSE_S = 0.7  # between the end of one episode and the start of the next
REPLAYED = "pick up the red cube and put it into the bin"  # what the first episode shows
SEEDS = 2**31


def main(args: list[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0 when the arm followed and lifted every cube that it had time for, or Ctrl-C came before it
        moved; 1 when it did not, when a busy machine left that open, or when a process failed; 2
        for wrong arguments or a bad DEMO_SECONDS; 130 when Ctrl-C came before the first process was
        started, or once more while the pictures were drawn.
    """
    choices = _choices(args)
    try:
        duration_s = _duration_s(os.environ.get("DEMO_SECONDS", ""))
    except ValueError as error:
        write_line(f"demo: {error}")
        return 2
    return exit_status("demo", lambda: _demo(choices, duration_s))


def _choices(args: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="A simulated arm, driven through ROS 2 by a policy server. DEMO_SECONDS in the "
        "environment ends it after so many seconds of motion.",
    )
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="feedback",
        help="feedback: finds the cube that the instruction names in the front picture; replay: "
        "plays a recorded episode, whatever the pictures show (default: feedback)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="where the cubes lie at first, for --policy feedback (default: somewhere else in each "
        "run)",
    )
    choices = parser.parse_args(args)
    if choices.policy == "replay" and choices.seed is not None:
        parser.error(
            "--seed has no effect with --policy replay: its cubes lie as they were recorded"
        )
    if choices.seed is None:
        choices.seed = random.SystemRandom().randrange(SEEDS)
    if not 0 <= choices.seed < SEEDS:
        parser.error(f"--seed must be from 0 to {SEEDS - 1}, got {choices.seed}")
    return choices


def _demo(choices: argparse.Namespace, duration_s: float) -> int:
    bin_position = SimulatedArm().bin_position.tolist()
    with own_domain() as domain:
        if not os.environ.get("ROS_DOMAIN_ID"):
            write_line(
                f"demo: `ROS_DOMAIN_ID={domain} ros2 topic list` in another terminal shows its "
                "topics"
            )
        # This process talks DDS too.
        os.environ.update({**demo_environment(), "ROS_DOMAIN_ID": domain})
        with spinning(lambda: DemoRecorder(bin_position)) as recorder:
            with demo_processes(FOLDER / "log") as processes:
                was_interrupted = _interrupted(
                    lambda: _run(recorder, processes, choices, duration_s)
                )
            recorder.catch_up()
    if was_interrupted and not recorder.commanded.times_s:
        write_line("demo: ended before the arm moved")
        return 0
    return _report(recorder)


def _interrupted(run: Callable[[], None]) -> bool:
    """Run a function; return whether Ctrl-C interrupted it."""
    try:
        run()
    except KeyboardInterrupt:
        write_line("\ndemo: ending all processes; Ctrl-C again hurries them")
        return True
    return False


def _run(
    recorder: DemoRecorder,
    processes: DemoProcesses,
    choices: argparse.Namespace,
    duration_s: float,
) -> None:
    write_line("demo: starting the simulated arm, the policy server and the nodes")
    processes.start("sim_node", [str(executable("sim_node"))])
    server = processes.start("policy_server", [*serve_command(choices.policy), "--port", "0"])
    port = processes.wait_until(lambda: port_from_log(server.log), "the policy server listens")
    for name in ("policy_node", "control_node"):
        processes.start(name, node_command(name, port))
    processes.start("task_node", task_command())
    page = processes.start("dashboard", dashboard_command()) if has_dashboard() else None
    recorder.start()
    processes.wait_until(lambda: recorder.measured.times_s, "the arm sends joint states")
    processes.wait_until(lambda: recorder.policy_status, "the policy node is up")
    processes.wait_until(lambda: recorder.control_status, "the control node is up")
    if page is None:
        write_line("demo: for a page in the browser: pip install fastapi uvicorn websockets")
    else:
        what = "the dashboard serves its page"
        address = processes.wait_until(lambda: page_from_log(page.log), what)
        write_line(f"demo: open {address} in a browser")
    ends = "" if math.isinf(duration_s) else f" for {duration_s:g} s"
    write_line(f"demo: running{ends}, Ctrl-C ends it; logs are in {FOLDER / 'log'}")
    if choices.policy == "replay":
        _play_episodes(recorder, processes, duration_s)
        return
    if sys.stdin is not None and sys.stdin.isatty():
        write_line("demo: type red, green, blue or an instruction, and Enter")
    director = DemoDirector(recorder, processes, choices.seed, write_line)
    director.play(time.monotonic() + duration_s, _StatusLine(recorder).show)


def _play_episodes(recorder: DemoRecorder, processes: DemoProcesses, duration_s: float) -> None:
    """Play the first episode again and again, each time from its own scene."""
    episode_s = _episode_s()
    status = _StatusLine(recorder)
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        call_trigger(recorder, "policy_node/stop")
        recorder.pause()
        with control_node_inactive(recorder):
            call_trigger(recorder, "sim_node/reset")
        recorder.ask(REPLAYED)
        call_trigger(recorder, "policy_node/start")
        call_trigger(recorder, "policy_node/reset")
        episode_end_s = min(time.monotonic() + episode_s + PAUSE_S, end_s)
        while (now_s := time.monotonic()) < episode_end_s:
            status.show()
            processes.let_run(min(LINE_PERIOD_S, episode_end_s - now_s))
    call_trigger(recorder, "policy_node/stop")


class _StatusLine:
    """One line of status; on a terminal it overwrites the line before."""

    def __init__(self, recorder: DemoRecorder) -> None:
        self._recorder = recorder
        self._due_s = -math.inf

    def show(self) -> None:
        """Write the line anew, at most every `LINE_PERIOD_S`."""
        policy, control = self._recorder.policy_status, self._recorder.control_status
        now_s = time.monotonic()
        if policy is None or control is None or now_s < self._due_s:
            return
        self._due_s = now_s + LINE_PERIOD_S
        _write_status(status_text(policy, control))


def status_text(policy: PolicyStatus, control: ControlStatus) -> str:
    """What both nodes do, in one line."""
    playing = control.state == ControlStatus.STATE_RUNNING
    reasons = [policy.reason, *([] if playing else [control.reason])]
    rates = " ".join(
        f"{stream.name.split('.')[-1]} {stream.rate_hz:.0f}" for stream in policy.streams
    )
    return (
        f"demo: {policy.instruction}"
        f" | chunk {policy.chunk_id:4d} {'playing' if playing else 'holding'}"
        f" | {control.commands} commands, {control.holds} holds"
        f" | Hz: {rates}"
        f" | round trip {1e3 * policy.round_trip.last_s:.1f} ms"
        f", age {control.observation_age.last_s:.2f} s"
        f"{''.join(f' | {reason}' for reason in reasons if reason)}"
    )


def _write_status(line: str) -> None:
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1  # a line that is folded stays
        sys.stdout.write(f"\r\x1b[K{line[:width]}")
        sys.stdout.flush()
    else:
        write_line(line)


def _report(recorder: DemoRecorder) -> int:
    summary = summarise(recorder)
    write_line(f"\ndemo: {summary}")
    try:
        for picture in write_pictures(recorder, FOLDER):
            write_line(f"demo: wrote {picture}")
    except OSError as error:
        write_line(f"demo: no picture could be written to {FOLDER.absolute()}: {error.strerror}")
    return 0 if summary.succeeded else 1


def _episode_s() -> float:
    """How long the first recorded episode lasts, s."""
    fps = json.loads((DATASET / "meta" / "info.json").read_text())["fps"]
    first = (DATASET / "meta" / "episodes.jsonl").read_text().splitlines()[0]
    return float(json.loads(first)["length"] / fps)


def _duration_s(text: str) -> float:
    if not text:
        return math.inf
    try:
        duration_s = float(text)
    except ValueError:
        duration_s = math.nan
    if not duration_s > 0.0:
        raise ValueError(f"DEMO_SECONDS must be a number of seconds > 0, got {text!r}")
    return duration_s


if __name__ == "__main__":
    sys.exit(main())
