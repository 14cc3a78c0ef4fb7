# SPDX-License-Identifier: Apache-2.0
"""A run whose clock was set is measured as if it had not been, and the jump is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pip install '.[report]'")
from demonstration_bags import Recorded, stamp, write_plain_bag
from run_rig import T0_S, run_with
from test_bag_run import messages
from test_recording_run import CONFIG, START_NS, TICK_NS, chunk_at

from gr00t_policy_core.control.recording import Measured, Offered, Ticked, write_events
from gr00t_ros.diagnose.bag_run import read_bag
from gr00t_ros.diagnose.recording_run import read_recording
from gr00t_ros.diagnose.report import diagnose
from gr00t_ros.diagnose.run_clock import RunClock
from gr00t_ros.node.offline_nodes import contract_of_file

SET_AT_S = 6.0


def with_clock_set(recorded: list[Recorded], by_s: float) -> list[Recorded]:
    """The same messages where the clock of all nodes is set in mid-run."""
    shifted = []
    for message in recorded:
        if message.time_s >= SET_AT_S:
            header = getattr(message.message, "header", None)
            if header is not None and header.stamp.sec:
                header.stamp = stamp(header.stamp.sec - T0_S + header.stamp.nanosec * 1e-9 + by_s)
            message = Recorded(message.topic, message.message, message.time_s + by_s)
        shifted.append(message)
    return shifted


@pytest.mark.parametrize("by_s", [-0.3, -5.0, 5.0, -3600.0, 3600.0])
def test_a_bag_whose_clock_was_set_is_judged_as_if_it_had_not_been(
    tmp_path: Path, by_s: float
) -> None:
    plain = diagnose(read_bag(write_plain_bag(tmp_path / "a.mcap", messages(run_with()))))
    recorded = with_clock_set(messages(run_with()), by_s)
    found = diagnose(read_bag(write_plain_bag(tmp_path / "b.mcap", recorded)))

    (jump,) = found.run.clock_jumps
    assert jump.time_s - T0_S == pytest.approx(SET_AT_S, abs=0.02)
    assert jump.passed_s == pytest.approx(by_s, abs=0.02)
    of_clock = [s for s in found.symptoms if s.title.startswith("The clock was set")]
    assert [f"{abs(jump.passed_s):.2f} s." in s.text for s in of_clock] == [True]
    others = [s.title for s in found.symptoms if s not in of_clock]
    assert sorted(others) == sorted(s.title for s in plain.symptoms)
    assert found.run.end_s - found.run.begin_s == pytest.approx(
        plain.run.end_s - plain.run.begin_s, abs=0.05
    )
    assert len(found.run.measured) == pytest.approx(len(plain.run.measured), abs=2)
    assert np.abs(np.diff(found.run.measured.values, axis=0)).max() < 0.05


def test_topics_that_are_written_one_after_the_other_are_no_clock_that_was_set() -> None:
    clock = RunClock()
    for first_s in np.arange(10.0, 15.0, 1.0):
        for topic in ("/front", "/joints"):
            for time_s in np.arange(first_s, first_s + 1.0, 0.1):
                assert clock.receive(topic, float(time_s)) == time_s
    assert clock.jumps == []


def test_what_was_written_late_is_of_the_clock_before() -> None:
    clock = RunClock()
    assert clock.receive("/joints", 100.0) == 100.0
    assert clock.receive("/front", 100.0) == 100.0
    assert clock.receive("/joints", 40.0) == 100.0
    assert clock.receive("/front", 100.2) == pytest.approx(100.2)  # before the clock was set
    assert clock.receive("/front", 40.3) == pytest.approx(100.3)
    assert clock.near(99.9, 100.3) == pytest.approx(99.9)  # a stamp from before, too
    assert [jump.passed_s for jump in clock.jumps] == [-60.0]


@pytest.mark.parametrize("jumps_s", [(-5.0, 100.0), (5.0, -50.0), (60.0, -60.0), (-9.0, -9.0)])
def test_each_of_two_jumps_is_named_once(jumps_s: tuple[float, float]) -> None:
    clock = RunClock()
    for step in range(600):
        set_s = sum(jumps_s[: step // 200])
        for topic in ("/front", "/joints"):
            time_s = clock.receive(topic, 1000.0 + 0.1 * step + set_s)
            assert time_s == pytest.approx(1000.0 + 0.1 * step, abs=0.25)
    assert [jump.passed_s for jump in clock.jumps] == pytest.approx(jumps_s, abs=0.11)


def test_a_clock_that_a_slow_topic_shows_first_to_be_set_back_is_named_once() -> None:
    clock = RunClock()
    for step in range(2000):
        set_s = -30.0 if step >= 1000 else 0.0
        for topic, every in (("/status", 50), ("/joints", 1)):
            if step % every == 0:
                time_s = clock.receive(topic, 1000.0 + 0.01 * step + set_s)
                assert time_s == pytest.approx(1000.0 + 0.01 * step, abs=0.02)
    assert [jump.passed_s for jump in clock.jumps] == pytest.approx([-30.0], abs=0.02)


@pytest.mark.parametrize("by_s", [-60.0, 60.0])
def test_a_recording_whose_clock_was_set_goes_on(tmp_path: Path, by_s: float) -> None:
    events = []
    for tick in range(400):
        set_ns = round(by_s * 1e9) if tick >= 200 else 0
        now_ns = START_NS + tick * TICK_NS
        row = chunk_at(0, now_ns).actions["single_arm"][0]
        events.append(Measured({**dict(enumerate(row.tolist())), 6: 0.02}, now_ns + set_ns))
        if tick % 30 == 5:
            chunk = chunk_at(tick, now_ns - 50_000_000)
            events.append(
                Offered(
                    chunk.__class__(tick, chunk.t0_ns + set_ns, chunk.dt_s, chunk.actions),
                    now_ns + set_ns,
                )
            )
        events.append(Ticked(now_ns + set_ns))
    write_events(tmp_path / "run.jsonl", events)

    run = read_recording(tmp_path / "run.jsonl", contract_of_file(CONFIG))

    (jump,) = run.clock_jumps
    assert jump.passed_s == pytest.approx(by_s, abs=0.02)
    assert run.end_s - run.begin_s == pytest.approx(4.0, abs=0.1)
    assert (np.diff(run.measured.times_s) < 0.05).all()


def test_stamps_of_drivers_that_lag_behind_each_other_are_no_clock_that_was_set(
    tmp_path: Path,
) -> None:
    events = []
    for tick in range(200):
        now_ns = START_NS + tick * TICK_NS
        row = chunk_at(0, now_ns).actions["single_arm"][0]
        events.append(Measured(dict(enumerate(row.tolist())), now_ns - 5_000_000))
        if tick % 5 == 0:
            events.append(Measured({6: 0.02}, now_ns - 300_000_000))
        if tick % 30 == 5:
            events.append(Offered(chunk_at(tick, now_ns - 50_000_000), now_ns))
        events.append(Ticked(now_ns))
    write_events(tmp_path / "run.jsonl", events)

    run = read_recording(tmp_path / "run.jsonl", contract_of_file(CONFIG))

    assert run.clock_jumps == ()
    assert run.measured.times_s[0] == pytest.approx(START_NS * 1e-9 - 0.3)
    assert run.measured.times_s[-1] == pytest.approx(START_NS * 1e-9 + 1.985)
