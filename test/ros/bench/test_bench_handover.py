# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the hand-over: a case gives the same run twice, and the numbers are right."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import gr00t_ros.sim  # noqa: F401  # chooses the OpenGL backend, so before mujoco

pytest.importorskip("mujoco")
pytest.importorskip("cv2")
from bench import motion_handover
from bench.handover_metrics import ELSEWHERE, TO_PERSON, TO_POLICY, report, summarize
from bench.handover_run import Handover, HandoverRecording, run_handover
from bench.motion_bench import Bench, in_groups
from bench.motion_metrics import PERIOD_S
from bench.motion_parts import STRATEGIES, Case, demo_contract
from bench.motion_report import DEFAULT
from gr00t_ros.sim.rendering import RenderingUnavailableError

(STRATEGY,) = (strategy for strategy in STRATEGIES if strategy.name == DEFAULT)


@pytest.fixture(scope="module")
def bench() -> Bench:
    made = Bench.make()
    try:
        made.arm.render("front")
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    return made


def test_a_person_corrects_the_grasp_inside_the_limits(bench: Bench) -> None:
    case = Case(STRATEGY, 0.1, 1)
    first, second = (run_handover(bench.arm, bench.expert, case) for _ in range(2))
    np.testing.assert_array_equal(first.commands, second.commands)
    assert first.completion_s is not None
    assert first.to_person is not None
    assert first.to_policy is not None
    assert 0.0 < first.to_person.periods <= 1.0
    assert first.to_person.tick < first.to_policy.tick
    limits = demo_contract("offset_fade").action[0].limits[0]
    for row in summarize([first]):
        assert row.success_rate == 1.0
        # Braking and blending use three tenths of the limits, and what is blended comes on top.
        assert 0.0 < row.jump_max_rad < 0.8 * limits.acceleration * PERIOD_S**2
        assert row.speed_max <= limits.velocity * 1.001
        assert row.acceleration_max <= limits.acceleration * 1.001
        assert row.jerk_max <= limits.jerk * 1.001


def recording(commands: np.ndarray, **changes: object) -> HandoverRecording:
    values = {
        "case": Case(STRATEGY, 0.1, 0),
        "completion_s": 5.0,
        "commands": commands,
        "to_person": Handover(200, 0.5),
        "to_policy": Handover(500, 20.0),
        "limiter_hits": 0,
        **changes,
    }
    return HandoverRecording(**values)


def ramp(ticks: int = 800) -> np.ndarray:
    commands = np.zeros((ticks, 7))
    commands[:, 0] = 0.01 * np.arange(ticks)
    return commands


def test_rows_are_of_their_own_part_of_the_commands() -> None:
    for tick, boundary in ((200, TO_PERSON), (503, TO_POLICY), (400, ELSEWHERE)):
        commands = ramp()
        commands[tick:, 2] += 0.003
        for row in summarize([recording(commands), recording(ramp(), completion_s=None)]):
            expected = 0.003 if row.boundary == boundary else 0.0
            assert row.jump_max_rad == pytest.approx(expected, abs=1e-12)
            jerk = 2 * expected / PERIOD_S**3
            assert row.jerk_max == pytest.approx(jerk, abs=1e-3)
            assert row.speed_max == pytest.approx(1.0)
            assert row.success_rate == 0.5


def test_an_episode_without_a_change_counts_as_no_success_and_has_no_periods() -> None:
    rows = list(summarize([recording(ramp(), completion_s=None, to_person=None, to_policy=None)]))
    assert [row.periods_max for row in rows] == [None, None, None]
    assert "| policy to person     | 100         | 0% " in report(rows)


def test_results_are_grouped_as_they_come() -> None:
    groups = in_groups(itertools.count(), 3)
    assert list(itertools.islice(groups, 2)) == [[0, 1, 2], [3, 4, 5]]


def test_the_command_writes_every_row(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "handover.json"
    monkeypatch.setattr(motion_handover, "RESULT", result)
    assert motion_handover.main(["--quick", "--seeds", "1", "--jobs", "1"]) == 0
    content = json.loads(result.read_text(encoding="utf-8"))
    assert content["meta"]["quick"] is True
    boundaries = [(row["boundary"], row["latency_ms"]) for row in content["rows"]]
    assert boundaries == [(TO_PERSON, 100), (TO_POLICY, 100), (ELSEWHERE, 100)]
