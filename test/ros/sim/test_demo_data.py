# SPDX-License-Identifier: Apache-2.0
"""From demonstration to verdict as a user runs it: real processes, real DDS, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_until
from running_processes import processes_with
from simulation_rig import require_rendering

pytest.importorskip("mcap", reason="the recorder needs mcap (the extra 'bags')")
pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.bags.reader import Bag
from gr00t_ros.sim import demo_data
from gr00t_ros.sim.data_summary import cut_bags, evaluation_problems, replayable_episodes
from gr00t_ros.sim.demo_processes import executable
from gr00t_ros.sim.demonstrations import Demonstration

in_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


def start(output: Path, episodes: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(executable("demo_data")), "--output", str(output)],
        env={**os.environ, "DEMO_EPISODES": str(episodes)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@in_proc
def test_two_demonstrations_go_the_whole_way(tmp_path: Path) -> None:
    require_rendering()
    demo = start(tmp_path / "out", 2)

    output, _ = demo.communicate(timeout=900)

    assert demo.returncode == 0, output
    assert "evaluation: the replay differs by 0, the flipped sign was found" in output
    assert "sign: single_arm (shoulder_pan): predicted with the opposite sign" in output
    for report in ("evaluation", "diagnosis"):
        assert (tmp_path / "out" / report / "report.html").stat().st_size > 10_000
    assert processes_with(str(tmp_path)) == []


@in_proc
def test_ctrl_c_leaves_no_process_and_a_bag_that_opens(tmp_path: Path) -> None:
    require_rendering()
    demo = start(tmp_path / "out", 2)
    folder = tmp_path / "out" / "demonstrations"
    try:
        wait_until(lambda: list(folder.glob("*.partial/*.mcap")), 300.0, "an episode has begun")
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=120)
    finally:
        demo.kill()

    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert processes_with(str(tmp_path)) == []
    (left,) = folder.iterdir()
    assert left.name == "episode_000000.truncated"
    info = Bag(left).info
    assert isinstance(info, EpisodeInfo)
    assert info.truncated


def test_a_senseless_number_of_episodes_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEMO_EPISODES", "0")
    assert demo_data.main([]) == 2
    assert "DEMO_EPISODES must be an integer from 1 to 100, got '0'" in capsys.readouterr().out


# Replays of what is left miss the cube.
CUT_AT_START = {
    "episodes": [121],
    "skipped": "",
    "missing": {"no message": 6},
    "filtered": {"too short an episode": 11},
}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def converted(folder: Path) -> list[Path]:
    """Two datasets of six bags: whole, failed, with a gap, whole, with a gap near its start, and
    with gaps all over.
    """
    bags = [
        {"bag": "d/e0", "episodes": [120], "skipped": "", "missing": {}, "interruptions": {}},
        {"bag": "d/e1", "episodes": [], "skipped": "marked as failed"},
        {"bag": "d/e2", "episodes": [60, 30], "skipped": "", "missing": {"stale": 4}},
        {"bag": "d/e3", "episodes": [90], "skipped": "", "missing": {}, "interruptions": {}},
        {**CUT_AT_START, "bag": "d/e4"},
        {**CUT_AT_START, "bag": "d/e5", "episodes": []},
    ]
    datasets = [folder / "v2.1", folder / "v3.0"]
    for dataset in datasets:
        common = {"missing": {}, "interruptions": {}, "filtered": {}}
        write_json(dataset / "meta/conversion.json", {"bags": [{**common, **b} for b in bags]})
        write_json(dataset / "meta/info.json", {"fps": 15})
    return datasets


def test_whole_demonstrations_are_replayed_from_both_formats_in_turn(tmp_path: Path) -> None:
    datasets = converted(tmp_path)
    demonstrations = [Demonstration(i, "red", Path(f"d/e{i}"), i != 1) for i in range(6)]

    first, second = replayable_episodes(datasets, demonstrations)

    assert (first.dataset, first.index, first.scene_seed) == (datasets[0], 0, 0)
    assert (second.dataset, second.index, second.scene_seed) == (datasets[1], 3, 3)
    assert (first.duration_s, second.duration_s) == (8.0, 6.0)
    assert list(cut_bags(datasets[0])) == [
        "e2 was cut by gaps to episodes of 60, 30 steps: stale",
        "e4 was cut by gaps to episodes of 121 steps: no message",
        "e5 was cut by gaps to no episode: no message",
    ]


@pytest.mark.parametrize(
    ("mse", "fault", "problem"),
    [
        (0.0, "sign", None),
        (0.01, "sign", "evaluation: the replay differs from itself, MSE 0.01"),
        (0.0, "flat", "evaluation: the flipped sign was NOT found"),
    ],
)
def test_an_evaluation_that_finds_something_else_is_a_failure(
    tmp_path: Path, mse: float, fault: str, problem: str | None
) -> None:
    finding = {"fault": fault, "joints": ["shoulder_pan"]}
    policies = [
        {"name": "replay", "mse": mse, "findings": []},
        {"name": "flipped", "mse": 1.0, "findings": [finding]},
    ]
    write_json(tmp_path / "report.json", {"policies": policies})
    assert list(evaluation_problems(tmp_path)) == ([] if problem is None else [problem])
