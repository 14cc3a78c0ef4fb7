# SPDX-License-Identifier: Apache-2.0
"""What is told: diagnostics, how the loop runs, and a run on record."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from helpers import wait_until
from motion_rig import Rig
from nodes_for_tests import ACTIVATE, DEACTIVATE

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.control.motion_setup import make_player


def test_diagnostics_tell_the_state_and_the_numbers_once_a_second(rig: Rig) -> None:
    heard: list[tuple[float, DiagnosticStatus]] = []

    def hear(array: DiagnosticArray) -> None:
        stamp = array.header.stamp
        heard.extend((stamp.sec % 1000 + stamp.nanosec * 1e-9, one) for one in array.status)

    rig.peer.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    rig.start()
    rig.play(horizon=60)
    rig.operator.wait_until_running()
    seen = len(heard)
    wait_until(lambda: len(heard) >= seen + 3, what="diagnostics")
    stamps_s, messages = zip(*heard[seen:], strict=True)
    assert 0.5 < np.median(np.diff(stamps_s)) < 2.0
    running = messages[0]
    assert running.name == "control_node"
    assert (running.level, running.message) == (DiagnosticStatus.OK, "running")
    values = {p.key: float(p.value) for p in running.values if not p.key.startswith("joint ")}
    assert values["chunks_accepted"] == 1
    assert values["chunk_id"] == 1
    assert 0.0 < values["observation_age last_s"] < 3.0
    assert {
        "blend_offset",
        "limiter_hits",
        "steps_skipped",
        "holds",
        "tick_lateness p50_s",
        "tick_lateness p99_s",
        "ticks_missed",
        "chunks_rejected",
    } <= values.keys()
    rig.operator.wait_for_reason("ended and no other came")
    wait_until(lambda: heard[-1][1].message.startswith("holding: "), what="the hold")
    assert heard[-1][1].level == DiagnosticStatus.WARN


# The loop


def control_thread(node: ControlNode) -> int:
    assert node._activation is not None
    assert node._activation.loop is not None
    thread = node._activation.loop._thread.native_id
    assert thread is not None
    return thread


def test_the_loop_is_real_time_where_that_is_permitted_and_says_where_it_is_not(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    cpu = min(os.sched_getaffinity(0))
    node = rig.start(realtime_priority=7, cpu_affinity=cpu)
    thread = control_thread(node)
    wait_until(lambda: os.sched_getaffinity(thread) == {cpu}, what="the CPU is kept")
    rig.play()
    rig.wait_for_commands(10)
    told = capfd.readouterr().err
    if "realtime_priority 7 is refused" in told:
        assert "CAP_SYS_NICE" in told
        assert os.sched_getscheduler(thread) == os.SCHED_OTHER
    else:
        assert os.sched_getscheduler(thread) == os.SCHED_FIFO
        assert os.sched_getparam(thread).sched_priority == 7
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # the loop only


def test_a_cpu_that_is_not_there_is_told_and_the_loop_runs(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start(cpu_affinity=1023)
    rig.play()
    rig.wait_for_commands(10)
    assert "cpu_affinity 1023 is refused" in capfd.readouterr().err


# A run on record


def test_a_run_over_dds_is_played_again_bit_for_bit(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(record_path=str(path))
    for number in range(4):
        rig.play(start=0.2 * (number % 2), speed=1.5, late_s=0.03)
        rig.wait_for_commands(20)
    rig.operator.trigger("stop")
    rig.wait_for_rest()
    rig.operator.trigger("start")
    rig.play(start=rig.path()[-1, 0])
    rig.wait_for_commands(20)
    assert rig.operator.change_state(DEACTIVATE) == [True]
    player = make_player(parse_contract(rig.values), ActionLayout({"arm": 2, "gripper": 1}), {})
    commands = [command for command in replay(read_events(path), player) if command is not None]
    again = [tuple(map(float, np.concatenate(list(c.values.values())))) for c in commands]
    wait_until(lambda: tuple(rig.path()[-1]) == again[-1], what="the last command")
    heard = [tuple(command) for command in rig.path()]
    assert len(again) > 100
    # Of what was published, everything that came is there, in its order, to the last bit.
    remaining = iter(again)
    assert all(command in remaining for command in heard)
    assert len(heard) > 0.8 * len(again)


def test_a_recording_that_cannot_be_written_is_told_and_the_node_goes_on(
    rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start(record_path=str(tmp_path / "nowhere" / "run.jsonl"))
    rig.play()
    rig.wait_for_commands(5)
    assert rig.operator.change_state(DEACTIVATE, ACTIVATE) == [True, True]
    assert "the run is not recorded" in capfd.readouterr().err
