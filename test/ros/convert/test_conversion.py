# SPDX-License-Identifier: Apache-2.0
"""From bags to a dataset by the command line: formats, options and reports."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from demonstration_bags import (
    Recorded,
    command,
    picture,
    position,
    recording,
    write_episode,
    write_plain_bag,
    write_sqlite_bag,
)
from policies_for_tests import parameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
from conversion_rig import convert, report_of, write_config

from gr00t_policy_core import ReplayPolicy, cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.sim.demo_processes import executable


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_bags_become_a_dataset(
    tmp_path: Path, bags: Path, config: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d"
    assert convert(bags, "--config", config, "--output", out, "--format", version) == 0
    assert "2 of 2 bags, 2 episodes, 80 steps (4.0 s at 20 Hz)" in capsys.readouterr().out
    dataset = LeRobotDataset(out)
    times = np.arange(40) / 20
    for episode in (0, 1):
        state = dataset.read(episode, "state", ["arm", "gripper"])
        expected = [[position(t, 0), position(t, 1)] for t in times]
        np.testing.assert_allclose(state["arm"], expected, atol=1e-6)
        action = dataset.read(episode, "action", ["gripper"])["gripper"][:, 0]
        newest = np.floor(times * 50 + 1e-6) / 50
        np.testing.assert_allclose(action, [command(t, 2) for t in newest], atol=1e-6)
        frames = list(dataset.read_video(episode, "front"))
        assert len(frames) == 40
        for t, frame in zip(times, frames, strict=True):
            recorded = np.frombuffer(picture(t).data, np.uint8).reshape(frame.shape)
            assert np.abs(frame.astype(int) - recorded).mean() < 15
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["observation.state"]["names"] == ["shoulder", "elbow", "finger"]
    assert not list(tmp_path.glob("d.*"))
    policy = ReplayPolicy(out, action_horizon=4, strict=False)
    assert policy.num_episodes == 2
    action, _ = policy.get_action({})
    np.testing.assert_allclose(action["arm"][0, 0], [command(0, 0), command(0, 1)], atol=1e-6)


def test_several_processes_give_the_same_dataset(tmp_path: Path, bags: Path, config: Path) -> None:
    command_line = ["convert", str(bags), "--config", str(config), "--output"]
    assert cli.main([*command_line, str(tmp_path / "one"), "--jobs", "1"]) == 0
    assert cli.main([*command_line, str(tmp_path / "two"), "--jobs", "2"]) == 0
    files = sorted(
        f.relative_to(tmp_path / "one") for f in (tmp_path / "one").rglob("*") if f.is_file()
    )
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_installed_command_starts_several_processes(
    tmp_path: Path, bags: Path, config: Path
) -> None:
    arguments = [bags, "--config", config, "--output", tmp_path / "d", "--jobs", 2]
    command_line = [str(executable("gr00t-policy")), "convert", *map(str, arguments)]
    result = subprocess.run(command_line, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 bags" in result.stdout


def test_a_busy_recorder_that_wrote_topic_after_topic_loses_nothing(
    tmp_path: Path, config: Path
) -> None:
    by_topic = sorted(recording(3.0), key=lambda m: (int(m.time_s / 0.8), m.topic))
    bag = write_plain_bag(tmp_path / "bag.mcap", by_topic)
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    report = report_of(tmp_path / "d")
    assert report["interruptions"] == {}
    assert (report["episodes"], report["steps"]) == (1, 60)


def test_an_image_that_was_sent_again_is_no_clock_that_was_set(
    tmp_path: Path, config: Path
) -> None:
    """It is stamped later than those behind it, which have waited for it, as the robot has."""
    messages = list(recording(3.0))
    first = next(i for i, one in enumerate(messages) if isinstance(one.message, Image))
    late = messages[first]
    messages[first] = replace(late, time_s=late.time_s + 0.9, published_s=late.time_s)
    bag = write_plain_bag(tmp_path / "bag.mcap", messages)
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    report = report_of(tmp_path / "d")
    assert report["interruptions"] == {}
    assert (report["episodes"], report["steps"]) == (1, 43)  # without the first 0.85 s


def test_a_bag_of_the_recorder_needs_no_file_and_no_task(tmp_path: Path) -> None:
    """The task, the outcome and the robot are those that were recorded."""
    values = {k: v for k, v in parameters(max_skew_s=0.03).items() if k != "instruction"}
    full = {k: f"/{v}" if k.endswith(".topic") else v for k, v in values.items()}
    text = yaml.safe_dump({"/**": {"ros__parameters": full}})
    for number, outcome in enumerate(("success", "failure")):
        info = EpisodeInfo(task=f"task {number}", outcome=outcome, truncated="", config=text)
        write_episode(tmp_path / f"r/episode_{number:06d}", recording(2.0), info)
    assert convert(tmp_path / "r", "--output", tmp_path / "all") == 0
    episodes = (tmp_path / "all/meta/episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["tasks"] for line in episodes] == [["task 0"], ["task 1"]]
    assert [json.loads(line)["outcome"] for line in episodes] == ["success", "failure"]

    assert convert(tmp_path / "r", "--output", tmp_path / "good", "--drop-failed") == 0
    report = report_of(tmp_path / "good")
    assert report["episodes"] == 1
    assert [bag["skipped"] for bag in report["bags"]] == ["", "marked as failed"]


def test_a_sqlite_bag_is_converted(tmp_path: Path, config: Path) -> None:
    bag = write_sqlite_bag(tmp_path / "old.db3", recording(2.0))
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    assert report_of(tmp_path / "d")["steps"] == 40


def test_images_and_filters_have_their_options(tmp_path: Path, bags: Path, config: Path) -> None:
    flags = ["--image-size", "16x32", "--quality", "40", "--language-key", "human.task"]
    flags += ["--trim-idle", "--split-jumps", "--drop-blurred", "--robot-type", "toy"]
    assert convert(bags, "--config", config, "--output", tmp_path / "d", *flags) == 0
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    assert info["features"]["observation.images.front"]["shape"] == [16, 32, 3]
    assert "annotation.human.task" in info["features"]
    assert info["robot_type"] == "toy"
    report = report_of(tmp_path / "d")
    assert report["bags"][0]["sharpness"]["front"] > 0
    assert report["steps"] + sum(report["filtered"].values()) == 80


def test_the_state_ahead_is_the_action(tmp_path: Path, bags: Path, config: Path) -> None:
    flags = ["--action-from", "state", "--action-lead-steps", "3"]
    assert convert(bags, "--config", config, "--output", tmp_path / "d", *flags) == 0
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.episodes[0].length == 37
    state = dataset.read(0, "state", ["arm"])["arm"]
    action = dataset.read(0, "action", ["arm"])["arm"]
    np.testing.assert_allclose(action[:-3], state[3:], atol=1e-6)


def test_the_yaml_file_says_where_the_action_comes_from(tmp_path: Path, bags: Path) -> None:
    changes = {"record__action_from": "state", "record__action_lead_steps": 2}
    config = write_config(tmp_path / "robot.yaml", **changes)
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 0
    assert LeRobotDataset(tmp_path / "d").episodes[0].length == 38


def test_the_time_of_a_simulation_is_that_of_its_clock(tmp_path: Path, config: Path) -> None:
    """The bag was recorded by the wall clock; the stamps are those of the simulation."""
    simulated = []
    for m in recording(3.0):
        clock = Clock()
        ns = 1_700_000_000_000_000_000 + round(m.time_s * 1e9)
        clock.clock.sec, clock.clock.nanosec = divmod(ns, 1_000_000_000)
        simulated += [
            Recorded("/clock", clock, m.time_s + 5000.0),
            Recorded(m.topic, m.message, m.time_s + 5000.0),
        ]
    bag = write_plain_bag(tmp_path / "bag.mcap", simulated)
    assert convert(bag, "--config", config, "--output", tmp_path / "wall") == 1
    flags = ["--use-clock-topic", "--output", tmp_path / "d"]
    assert convert(bag, "--config", config, *flags) == 0
    assert report_of(tmp_path / "d")["steps"] >= 58
