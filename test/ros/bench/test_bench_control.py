# SPDX-License-Identifier: Apache-2.0
"""The control benchmark: the numbers are right, and it runs through with every loop."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import wait_until

from bench import control
from bench.busy_policy import HORIZON, REACH_RAD, excursion
from bench.control_report import BUSY, CONTROL_NODE, FIFO, FLOOR, TIMER, Row, goal_lines, summarize
from bench.processes import Worker

BEGUN_NS = 1_000_000_000_000
PERIOD_NS = 10_000_000


def row_of(stamps_ns: list[int], **changes: object) -> Row:
    about = {
        "loop": CONTROL_NODE,
        "rate_hz": 100,
        "load": BUSY,
        "begun_ns": BEGUN_NS,
        "seconds": 1.0,
        "chunks": 5,
        **changes,
    }
    return summarize(stamps_ns, **about)


def on_time(ticks: int = 100) -> list[int]:
    return [BEGUN_NS + tick * PERIOD_NS for tick in range(ticks)]


def test_a_loop_on_time_has_no_error_and_loses_nothing() -> None:
    row = row_of([BEGUN_NS - PERIOD_NS, *on_time(), BEGUN_NS + 100 * PERIOD_NS])
    assert (row.p50_s, row.p99_s, row.max_s) == pytest.approx((0.0, 0.0, 0.0))
    assert (row.lost, row.ticks, row.chunks) == (0, 100, 5)


def test_a_late_tick_makes_one_period_longer_and_one_shorter() -> None:
    stamps = on_time()
    stamps[50] += 3_000_000
    row = row_of(stamps)
    assert row.max_s == pytest.approx(0.003)
    assert row.p99_s == pytest.approx(0.003)
    assert row.p50_s == pytest.approx(0.0)


def test_a_tick_that_is_missing_is_lost_and_an_error_of_a_period() -> None:
    stamps = on_time()
    del stamps[50]
    row = row_of(stamps)
    assert row.lost == 1
    assert row.max_s == pytest.approx(0.01)


def test_a_loop_that_commands_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="only 0 commands"):
        row_of([BEGUN_NS - 1])


def test_goals_are_held_against_the_loaded_rows_only() -> None:
    late = on_time()
    late[50] += 3_000_000
    lines = list(
        goal_lines(
            [
                row_of(late, loop=FIFO, rate_hz=50, load="none"),
                row_of(late, rate_hz=100, loop=TIMER),
                Row(FIFO, 50, BUSY, 0.0, 0.00005, 0.0, 0, 100, 5),
                Row(FIFO, 200, BUSY, 0.0, 0.00005, 0.0, 0, 100, 5),
                Row(FLOOR, 200, BUSY, 0.0, 0.00002, 0.0, 0, 100, 0),
            ]
        )
    )
    assert ["**met**" in line for line in lines] == [True, False]
    assert lines[0].endswith("0.050 ms")
    assert lines[1].endswith("0.050 ms (a bare loop right after it: 0.020 ms)")


def test_the_bare_loop_keeps_its_rate_and_tells_when_it_woke_up() -> None:
    if control.realtime_refusal() is not None:
        pytest.skip("real-time scheduling is refused")
    with Worker("bench.bare_loop", "100", "1", env=os.environ) as worker:
        worker.read()
        worker.ask("begin")
        wait_until(lambda: len(told := worker.ask("more")["stamps_ns"]) and told[0] > 0)


def test_the_busy_policy_goes_a_little_way_and_back() -> None:
    chunk = excursion(np.full((1, 1, 7), 0.5, np.float32))
    assert chunk.shape == (1, HORIZON, 7)
    np.testing.assert_allclose(chunk[:, [0, -1]], 0.5, atol=1e-6)
    assert chunk.max() == pytest.approx(0.5 + REACH_RAD, rel=0.01)


def test_every_loop_is_run_at_every_rate_and_load() -> None:
    cases = control.make_cases(quick=False, with_fifo=True)
    assert len(cases) == len({(case.loop, case.rate_hz, case.load) for case in cases}) == 32
    without = {case.loop for case in control.make_cases(quick=False, with_fifo=False)}
    assert without == {TIMER, CONTROL_NODE}


def test_the_command_writes_a_row_for_each_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "control.json"
    monkeypatch.setattr(control, "RESULT", result)
    monkeypatch.setattr(control, "QUICK_RATES_HZ", (50,))
    monkeypatch.setattr(control, "LOADS", (BUSY,))
    monkeypatch.setattr(control, "LOOPS", (TIMER, CONTROL_NODE))
    assert control.main(["--quick"]) == 0
    content = json.loads(result.read_text(encoding="utf-8"))
    assert content["meta"]["quick"] is True
    assert {"realtime_priority", "load_average"} <= content["meta"].keys()
    assert [row["loop"] for row in content["rows"]] == [TIMER, CONTROL_NODE]
    for row in content["rows"]:
        assert {"rate_hz", "load", "p50_s", "p99_s", "max_s", "lost"} <= row.keys()
        assert row["chunks"] > 0
