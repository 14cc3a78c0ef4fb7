# SPDX-License-Identifier: Apache-2.0
"""The thread that keeps the control rate."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import wait_until

from gr00t_ros.control.control_loop import ControlLoop

MakeLoop = Callable[..., ControlLoop]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def make_loop(warnings: list[str]) -> Iterator[MakeLoop]:
    loops: list[ControlLoop] = []

    def make(tick: Callable[[], None], rate_hz: float = 200.0, **options: Any) -> ControlLoop:
        settings = {"realtime_priority": None, "cpu": None, "warn": warnings.append, **options}
        loops.append(ControlLoop(rate_hz, tick, **settings))
        return loops[-1]

    yield make
    for loop in loops:
        loop.end()


def test_it_ticks_in_a_thread_of_its_own_until_it_is_ended(make_loop: MakeLoop) -> None:
    threads: list[str] = []
    loop = make_loop(lambda: threads.append(threading.current_thread().name))
    wait_until(lambda: len(threads) > 20, what="ticks")
    assert set(threads) == {"control"}
    assert loop.is_alive
    loop.end()
    assert not loop.is_alive
    count = len(threads)
    time.sleep(0.05)
    assert len(threads) == count


def test_before_the_first_tick_no_lateness_is_known(make_loop: MakeLoop) -> None:
    loop = make_loop(lambda: None, rate_hz=1.0)
    assert math.isnan(loop.lateness().p99_s)
    assert loop.ticks_missed == 0


def test_deadlines_that_a_slow_tick_missed_are_counted(make_loop: MakeLoop) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            time.sleep(0.1)

    loop = make_loop(tick)
    wait_until(lambda: len(ticks) > 10, what="ticks after the slow one")
    assert loop.ticks_missed >= 18
    lateness = loop.lateness()
    assert 0.0 <= lateness.p50_s <= lateness.p99_s


def test_a_tick_that_fails_ends_the_loop_and_it_says_that_it_is_dead(make_loop: MakeLoop) -> None:
    errors: list[BaseException | None] = []
    hook, threading.excepthook = threading.excepthook, lambda args: errors.append(args.exc_value)
    try:

        def tick() -> None:
            raise RuntimeError("out of order")

        loop = make_loop(tick)
        wait_until(lambda: not loop.is_alive, what="its end")
    finally:
        threading.excepthook = hook
    assert str(errors[0]) == "out of order"


def test_priority_and_cpu_are_those_of_the_thread_alone(
    make_loop: MakeLoop, warnings: list[str]
) -> None:
    cpu = min(os.sched_getaffinity(0))
    seen: list[tuple[int, set[int]]] = []
    make_loop(
        lambda: seen.append((os.sched_getscheduler(0), os.sched_getaffinity(0))),
        realtime_priority=5,
        cpu=cpu,
    )
    wait_until(lambda: seen, what="a tick")
    policy, cpus = seen[0]
    assert cpus == {cpu}
    if policy != os.SCHED_FIFO:
        assert policy == os.SCHED_OTHER
        assert warnings[0].startswith("realtime_priority 5 is refused")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_the_system_refuses_is_told_and_the_loop_runs(
    make_loop: MakeLoop, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    ticked = threading.Event()
    make_loop(ticked.set, realtime_priority=5, cpu=0)
    assert ticked.wait(60.0)
    assert [warning.partition(":")[0] for warning in warnings] == [
        "cpu_affinity 0 is refused",
        "realtime_priority 5 is refused",
    ]
    assert "rtprio" in warnings[1]


def test_a_system_without_real_time_scheduling_is_told_too(
    make_loop: MakeLoop, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_setscheduler")
    ticked = threading.Event()
    make_loop(ticked.set, realtime_priority=5)
    assert ticked.wait(60.0)
    assert "realtime_priority 5 is refused" in warnings[0]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at threads in /proc")
def test_the_other_threads_of_a_real_time_process_are_real_time_below_the_loop() -> None:
    code = (
        "import os, sys, threading\n"
        "from gr00t_ros.control.control_loop import keep_loop_punctual\n"
        "release = threading.Event()\n"
        "threading.Thread(target=release.wait).start()\n"
        "warnings = []\n"
        "keep_loop_punctual(30, warnings.append)\n"
        "tasks = map(int, os.listdir('/proc/self/task'))\n"
        "kinds = {(os.sched_getscheduler(t), os.sched_getparam(t).sched_priority) for t in tasks}\n"
        "release.set()\n"
        "print(bool(warnings), kinds == {(os.SCHED_FIFO, 20)}, sys.getswitchinterval() < 1e-3)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    refused, real_time, prompt = run.stdout.split()
    assert (refused == "True") != (real_time == "True")
    assert prompt == "True"
