# SPDX-License-Identifier: Apache-2.0
"""The closed-loop benchmark: a case gives the same run each time, and the numbers are right."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import gr00t_ros.sim  # noqa: F401  # chooses the OpenGL backend, so before mujoco

pytest.importorskip("mujoco")
pytest.importorskip("cv2")
from bench import motion
from bench.motion_bench import Bench
from bench.motion_link import TIMEOUT_S, fates
from bench.motion_metrics import BOUNDARY_TICKS, PERIOD_S, boundary_jumps, summarize
from bench.motion_parts import STRATEGIES, Case, demo_contract
from bench.motion_report import DEFAULT, goal_lines, report
from bench.motion_run import Recording, run_case
from gr00t_ros.sim.feedback import FeedbackExpert
from gr00t_ros.sim.rendering import RenderingUnavailableError
from gr00t_ros.sim.world import SimulatedArm

BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}


@pytest.fixture(scope="module")
def bench() -> Bench:
    arm = SimulatedArm()
    try:
        arm.render("front")
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    return Bench(arm, FeedbackExpert(arm))


def recording(commands: np.ndarray, **changes: object) -> Recording:
    ticks = len(commands)
    values = {
        "case": Case(BY_NAME[DEFAULT], 0.1, 0),
        "completion_s": 5.0,
        "commands": commands,
        "fresh": np.ones(ticks, dtype=bool),
        "ages_s": np.full(ticks, 0.2),
        "switches": np.array([], dtype=np.int64),
        "chunk_jumps": np.array([]),
        "limiter_hits": 3,
        "refused": 0,
        "requests": 4,
        "lost": 1,
        **changes,
    }
    return Recording(**values)


def ramp(ticks: int = 100) -> np.ndarray:
    commands = np.zeros((ticks, 7))
    commands[:, 0] = 0.01 * np.arange(ticks)
    return commands


@pytest.mark.parametrize("name", ["sync+replace", DEFAULT, "async+ensemble", "async+rtc"])
def test_the_task_is_done_with_latency_and_twice_the_same(bench: Bench, name: str) -> None:
    case = Case(BY_NAME[name], 0.1, 1)
    first, second = (run_case(bench.arm, bench.expert, case) for _ in range(2))
    assert first.completion_s is not None
    np.testing.assert_array_equal(first.commands, second.commands)
    assert first.completion_s == second.completion_s
    assert len(first.fresh) == len(first.commands)
    assert len(first.ages_s) == first.fresh.sum()
    assert first.ages_s.min() >= 0.0


def test_commands_are_at_least_as_old_as_the_latency_and_within_the_limits(
    bench: Bench,
) -> None:
    run = run_case(bench.arm, bench.expert, Case(BY_NAME[DEFAULT], 0.2, 2))
    assert np.median(run.ages_s) > 0.2
    limits = demo_contract("offset_fade").action[0].limits[0]
    speeds = np.abs(np.diff(run.commands[:, :6], axis=0)) / PERIOD_S
    assert speeds.max() <= limits.velocity * 1.001


def test_luck_does_not_depend_on_the_latency() -> None:
    slow, fast = (list(itertools.islice(fates(latency, 7), 500)) for latency in (0.2, 0.1))
    assert [fate.lost for fate in slow] == [fate.lost for fate in fast]
    assert 1 <= sum(fate.lost for fate in slow) <= 30
    for one, other in zip(slow, fast, strict=True):
        expected = TIMEOUT_S if one.lost else 2 * other.delay_s
        assert one.delay_s == pytest.approx(expected)
    answered = np.array([fate.delay_s for fate in slow if not fate.lost])
    assert np.median(answered) == pytest.approx(0.2, rel=0.05)
    assert answered.min() >= 0.1


def test_a_jump_at_a_boundary_is_told_from_velocity() -> None:
    commands = ramp()
    np.testing.assert_allclose(
        boundary_jumps(recording(commands, switches=np.array([50]))), 0.0, atol=1e-12
    )
    commands[50:, 2] += 0.004
    jumps = boundary_jumps(recording(commands, switches=np.array([20, 50])))
    np.testing.assert_allclose(jumps, [0.0, 0.004], atol=1e-12)
    late = boundary_jumps(recording(commands, switches=np.array([50 - BOUNDARY_TICKS])))
    np.testing.assert_allclose(late, [0.0], atol=1e-12)


def test_a_row_sums_up_what_was_recorded() -> None:
    jump = ramp()
    jump[50:, 0] += 0.002
    resting = np.ones(100, dtype=bool)
    resting[40:50] = False
    switches, offsets = np.array([50]), np.array([0.002])
    row = summarize(
        [
            recording(jump, switches=switches, chunk_jumps=offsets, fresh=resting),
            recording(ramp(), completion_s=None),
        ]
    )
    assert (row.strategy, row.latency_ms, row.seeds) == (DEFAULT, 100, 2)
    assert (row.success_rate, row.completion_s) == (0.5, 5.0)
    assert row.boundary_jump_rad == pytest.approx(0.002)
    assert row.takeover_jump_rad == 0.0  # from a standstill
    assert row.fresh_fraction == pytest.approx(0.95)
    assert row.jerk_max == pytest.approx(2 * 0.002 / PERIOD_S**3)
    assert (row.requests, row.lost_requests, row.limiter_hits) == (8, 2, 3.0)


def test_goals_that_are_missed_are_told() -> None:
    def row(latency_s: float, completion_s: float, jump: float) -> object:
        commands = ramp()
        commands[50:, 0] += jump
        return summarize(
            [
                recording(
                    commands,
                    case=Case(BY_NAME[DEFAULT], latency_s, 0),
                    completion_s=completion_s,
                    switches=np.array([50]),
                    chunk_jumps=np.array([jump]),
                )
            ]
        )

    lines = list(goal_lines([row(0.0, 5.0, 0.0), row(0.2, 5.4, 0.002), row(0.35, 9.0, 0.002)]))
    assert ["**met**" in line for line in lines] == [True, True, False, True]
    assert "+8.0%" in lines[-1]
    lines = list(goal_lines([row(0.0, 5.0, 0.0), row(0.2, 5.6, 0.0)]))
    assert ["**met**" in line for line in lines] == [True, True, True, False]


def test_the_command_writes_every_row(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "motion.json"
    monkeypatch.setattr(motion, "RESULT", result)
    monkeypatch.setattr(motion, "STRATEGIES", (BY_NAME[DEFAULT],))
    monkeypatch.setattr(motion, "QUICK_LATENCIES_S", (0.0, 0.1))
    assert motion.main(["--quick", "--seeds", "1", "--jobs", "1"]) == 0
    content = json.loads(result.read_text(encoding="utf-8"))
    assert content["meta"]["quick"] is True
    assert content["meta"]["link"]["drop_chance"] > 0
    assert [(row["strategy"], row["latency_ms"]) for row in content["rows"]] == [
        (DEFAULT, 0),
        (DEFAULT, 100),
    ]
    required = "strategy latency_ms seeds success_rate completion_s boundary_jump_rad jerk_rms"
    required += " age_p50_s age_p99_s fresh_fraction limiter_hits"
    assert set(required.split()) <= content["rows"][0].keys()
    assert "| strategy " in report([summarize([recording(ramp())])])
