# SPDX-License-Identifier: Apache-2.0
"""Datasets of attempts that a person corrected: who drove each step, and corrections only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from demonstration_bags import (
    Recorded,
    interventions,
    position,
    recording,
    write_episode,
    write_plain_bag,
)
from policies_for_tests import parameters

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

from gr00t_policy_core import cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.bags.episode_info import EpisodeInfo

FPS = 20
DRIVEN_S = ((1.0, 2.2), (3.0, 4.5))


def attempt(*spans: tuple[float, float], topic: str = "/intervention") -> list[Recorded]:
    """An attempt of 6 s; a person drives in the spans."""
    said = [Recorded(topic, m.message, m.time_s) for m in interventions(6.0, *spans)]
    return sorted([*recording(6.0), *said], key=lambda m: m.time_s)


def config_text(**changes: Any) -> str:
    values = parameters(**{"max_skew_s": 0.03, **changes})
    return yaml.safe_dump({"/**": {"ros__parameters": values}})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "robot.yaml"
    file.write_text(config_text())
    return file


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """An attempt with two corrections, one without any, and a demonstration."""
    write_plain_bag(tmp_path / "bags/a.mcap", attempt(*DRIVEN_S))
    write_plain_bag(tmp_path / "bags/b.mcap", attempt())
    write_plain_bag(tmp_path / "bags/c.mcap", recording(2.0))
    return tmp_path / "bags"


def convert(*arguments: Any) -> int:
    return cli.main(["convert", *map(str, arguments), "--jobs", "1"])


def report_of(dataset: Path) -> dict[str, Any]:
    return dict(json.loads((dataset / "meta/conversion.json").read_text()))


def driven_steps(*spans: tuple[float, float], steps: int) -> list[bool]:
    return [any(a <= step / FPS < b for a, b in spans) for step in range(steps)]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_whole_attempts_say_who_drove(
    tmp_path: Path, bags: Path, config: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d"
    assert convert(bags, "--config", config, "--output", out, "--format", version) == 0
    dataset = LeRobotDataset(out)
    assert [episode.length for episode in dataset.episodes.values()] == [120, 120, 40]
    expected = [driven_steps(*DRIVEN_S, steps=120), [False] * 120, [False] * 40]
    for index, driven in enumerate(expected):
        assert dataset.read_column(index, "intervention")[:, 0].tolist() == driven
    assert "interventions: 2, a person drove 54 of the 280 steps" in capsys.readouterr().out
    report = report_of(out)
    assert [bag["interventions"] for bag in report["bags"]] == [2, 0, 0]
    assert (report["interventions"], report["intervention_steps"]) == (2, 54)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_corrections_only_has_an_episode_of_each_correction(
    tmp_path: Path, bags: Path, config: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--corrections-only", "--format", version, "--output", tmp_path / "d"]
    assert convert(bags, "--config", config, *flags) == 0
    dataset = LeRobotDataset(tmp_path / "d")
    assert [episode.length for episode in dataset.episodes.values()] == [24, 30]
    for index, (began_s, ended_s) in enumerate(DRIVEN_S):
        assert dataset.read_column(index, "intervention").all()
        times = np.arange(round(began_s * FPS), round(ended_s * FPS)) / FPS
        state = dataset.read(index, "state", ["gripper"])["gripper"][:, 0]
        np.testing.assert_allclose(state, [position(t, 2) for t in times], atol=1e-6)
        assert len(list(dataset.read_video(index, "front"))) == len(times)
    output = capsys.readouterr().out
    assert "steps filtered: 186 × driven by the policy" in output
    assert "b.mcap: no episode: driven by the policy" in output
    assert "c.mcap: not converted: it has no topic /intervention of std_msgs/msg/Bool" in output


def test_a_lead_in_begins_before_the_person_took_over(
    tmp_path: Path, bags: Path, config: Path
) -> None:
    flags = ["--corrections-only", "--lead-in", "0.5", "--output", tmp_path / "d"]
    assert convert(bags, "--config", config, *flags) == 0
    dataset = LeRobotDataset(tmp_path / "d")
    assert [episode.length for episode in dataset.episodes.values()] == [34, 40]
    driven = dataset.read_column(0, "intervention")[:, 0]
    assert driven.tolist() == [False] * 10 + [True] * 24
    line = (tmp_path / "d/meta/episodes.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["intervention_steps"] == 24


def test_short_corrections_are_left_out_and_counted(
    tmp_path: Path, bags: Path, config: Path
) -> None:
    flags = ["--corrections-only", "--min-length", "1.3", "--output", tmp_path / "d"]
    assert convert(bags, "--config", config, *flags) == 0
    report = report_of(tmp_path / "d")
    assert report["bags"][0]["episodes"] == [30]
    assert report["filtered"] == {"driven by the policy": 186, "too short an episode": 24}
    assert (report["interventions"], report["intervention_steps"]) == (2, 30)


def test_a_state_that_is_the_action_is_measured_while_the_person_drives(
    tmp_path: Path, bags: Path, config: Path
) -> None:
    flags = ["--corrections-only", "--action-from", "state", "--action-lead-steps", "3"]
    assert convert(bags, "--config", config, *flags, "--output", tmp_path / "d") == 0
    dataset = LeRobotDataset(tmp_path / "d")
    assert [episode.length for episode in dataset.episodes.values()] == [21, 27]
    action = dataset.read(0, "action", ["gripper"])["gripper"][:, 0]
    last_s = DRIVEN_S[0][1] - 1 / FPS
    np.testing.assert_allclose(action[-1], position(last_s, 2), atol=1e-6)


def test_the_namespace_of_a_robot_is_that_of_its_topic(tmp_path: Path, config: Path) -> None:
    def of_left(messages: list[Recorded]) -> list[Recorded]:
        return [Recorded(f"/left{m.topic}", m.message, m.time_s) for m in messages]

    bag = write_plain_bag(tmp_path / "a.mcap", of_left(attempt(*DRIVEN_S)))
    flags = ["--config", config, "--namespace", "left", "--corrections-only"]
    assert convert(bag, *flags, "--output", tmp_path / "d") == 0
    assert report_of(tmp_path / "d")["bags"][0]["episodes"] == [24, 30]

    values = parameters(max_skew_s=0.03)
    full = {k: f"/left/{v}" if k.endswith(".topic") else v for k, v in values.items()}
    text = yaml.safe_dump({"/**": {"ros__parameters": full}})
    info = EpisodeInfo(task="pick", truncated="", config=text)
    write_episode(tmp_path / "r/episode_000000", of_left(attempt(*DRIVEN_S)), info)
    assert convert(tmp_path / "r", "--corrections-only", "--output", tmp_path / "e") == 0
    assert report_of(tmp_path / "e")["bags"][0]["episodes"] == [24, 30]


def test_two_robots_in_one_bag_of_the_recorder_are_told_apart_by_the_namespace(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [
        *attempt(*DRIVEN_S, topic="/left/intervention"),
        *attempt(topic="/right/intervention"),
    ]
    info = EpisodeInfo(task="pick", truncated="", config=config_text())
    both = sorted(messages, key=lambda m: m.time_s)
    write_episode(tmp_path / "r/episode_000000", both, info)
    assert convert(tmp_path / "r", "--corrections-only", "--output", tmp_path / "d") == 1
    assert "it has no topic /intervention" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--lead-in", "0.5"], "--lead-in has no effect: it needs --corrections-only"),
        (["--corrections-only", "--lead-in", "-1"], "must be a number above 0, got '-1'"),
    ],
)
def test_wrong_usage_is_explained(
    tmp_path: Path,
    bags: Path,
    config: Path,
    flags: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exited:
        convert(bags, "--config", config, "--output", tmp_path / "d", *flags)
    assert exited.value.code == 2
    assert problem in capsys.readouterr().err
