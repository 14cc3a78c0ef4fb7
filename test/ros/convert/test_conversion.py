# SPDX-License-Identifier: Apache-2.0
"""From bags to a dataset by the command line: formats, reports, bad bags, interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from demonstration_bags import (
    Recorded,
    command,
    picture,
    position,
    recording,
    truncate,
    write_episode,
    write_plain_bag,
    write_sqlite_bag,
)
from helpers import wait_until
from policies_for_tests import parameters
from rosgraph_msgs.msg import Clock

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

from gr00t_policy_core import ReplayPolicy, cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.convert import bag_conversion, conversion
from gr00t_ros.sim.demo_processes import executable


def write_config(path: Path, **changes: Any) -> Path:
    values = parameters(**{"max_skew_s": 0.03, **changes})
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "robot.yaml")


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """A folder with two plain bags of 2 s."""
    for name in ("a", "b"):
        write_plain_bag(tmp_path / f"bags/{name}.mcap", recording(2.0))
    return tmp_path / "bags"


def convert(*arguments: Any) -> int:
    return cli.main(["convert", *map(str, arguments), "--jobs", "1"])


def report_of(dataset: Path) -> dict[str, Any]:
    return dict(json.loads((dataset / "meta/conversion.json").read_text()))


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


def test_bags_of_different_robots_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, rate in enumerate((20.0, 10.0)):
        text = yaml.safe_dump({"/**": {"ros__parameters": parameters(action_rate_hz=rate)}})
        info = EpisodeInfo(truncated="", config=text)
        write_episode(tmp_path / f"r/episode_{number:06d}", recording(0.5), info)
    assert convert(tmp_path / "r", "--output", tmp_path / "d") == 1
    assert "another action_rate_hz than in" in capsys.readouterr().err


def test_a_sqlite_bag_is_converted(tmp_path: Path, config: Path) -> None:
    bag = write_sqlite_bag(tmp_path / "old.db3", recording(2.0))
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    assert report_of(tmp_path / "d")["steps"] == 40


def without(topic: str) -> list[Recorded]:
    return [m for m in recording(2.0) if m.topic != topic]


def wrong_type() -> list[Recorded]:
    return [
        Recorded("/front/image_raw", m.message, m.time_s)
        for m in recording(2.0)
        if m.topic == "/joint_states"
    ]


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (without("/front/image_raw"), "video.front: the bag has no topic /front/image_raw"),
        (without("/joint_states"), "state.arm: the bag has no topic /joint_states; "),
        (without("/commands"), "action.arm, action.gripper: the bag has no topic /commands"),
        (
            wrong_type(),
            "video.front: /front/image_raw carries sensor_msgs/msg/JointState, expected",
        ),
    ],
)
def test_a_bag_without_a_topic_is_named_and_the_others_are_converted(
    tmp_path: Path,
    bags: Path,
    config: Path,
    messages: list[Recorded],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_plain_bag(bags / "c.mcap", messages)
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 0
    output = capsys.readouterr().out
    assert "2 of 3 bags, 2 episodes" in output
    assert f"c.mcap: not converted: {problem}" in output
    assert report_of(tmp_path / "d")["bags"][2]["skipped"].startswith(problem)


def test_a_truncated_bag_is_converted_up_to_its_end_and_named(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_plain_bag(tmp_path / "bag.mcap", recording(8.0))
    truncate(bag)
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    assert "bag.mcap: truncated: bag.mcap has no end" in capsys.readouterr().out
    assert 40 < report_of(tmp_path / "d")["steps"] < 120


def test_a_gap_makes_two_episodes_and_the_report_says_why(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [m for m in recording(6.0) if m.topic != "/commands" or m.time_s < 9]
    gap = [m for m in messages if m.topic != "/front/image_raw" or not 2.0 < m.time_s < 3.5]
    bag = write_plain_bag(tmp_path / "bag.mcap", gap)
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    report = report_of(tmp_path / "d")
    assert report["episodes"] == 2
    assert sum(report["missing"].values()) == 120 - report["steps"]
    assert "steps missing: " in capsys.readouterr().out
    starts = (tmp_path / "d/meta/episodes.jsonl").read_text().splitlines()
    began = [json.loads(line)["started_ns"] for line in starts]
    assert (began[1] - began[0]) * 1e-9 == pytest.approx(3.5)


def test_images_and_filters_have_their_options(tmp_path: Path, bags: Path, config: Path) -> None:
    flags = ["--image-size", "32x16", "--quality", "40", "--language-key", "human.task"]
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


def test_an_existing_dataset_is_left_alone(
    tmp_path: Path, bags: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 1
    assert "is there already; choose another name" in capsys.readouterr().err
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--image-size", "640"], "must be WIDTHxHEIGHT such as 640x480, got '640'"),
        (["--trim-idle", "0"], "must be a number above 0, got '0'"),
        (["--action-from", "command", "--action-lead-steps", "2"], "has no effect"),
        (["--namespace", "left"], "--namespace has no effect"),
    ],
)
def test_wrong_usage_is_explained(
    tmp_path: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plain_bag(tmp_path / "a.mcap", recording(0.2))
    config = [] if "--namespace" in arguments else ["--config", write_config(tmp_path / "r.yaml")]
    with pytest.raises(SystemExit) as exited:
        convert(tmp_path / "a.mcap", "--output", tmp_path / "d", *config, *arguments)
    assert exited.value.code == 2
    assert problem in capsys.readouterr().err


def test_an_odd_image_is_explained(
    tmp_path: Path, bags: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--image-size", "33x16", "--output", tmp_path / "d"]
    assert convert(bags, "--config", config, *flags) == 1
    output = capsys.readouterr().out
    assert "33x16 px: width and height of a video must be even" in output
    assert "no dataset: no bag gave an episode" in output


def test_a_conversion_goes_on_after_an_error(
    tmp_path: Path, bags: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []
    really = bag_conversion.convert_bag

    def convert_or_fail(path: Path, *arguments: Any) -> Any:
        if path.name == "b.mcap" and len(converted) == 1:
            converted.append("disk full")
            raise OSError("No space left on device")
        converted.append(path.name)
        return really(path, *arguments)

    monkeypatch.setattr(conversion, "convert_bag", convert_or_fail)
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 1
    assert not (tmp_path / "d").exists()
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 0
    assert converted == ["a.mcap", "disk full", "b.mcap"]
    assert report_of(tmp_path / "d")["episodes"] == 2
    assert not (tmp_path / "d.converting").exists()


def test_other_settings_do_not_go_on_with_what_is_there(
    tmp_path: Path, bags: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bags / "b.mcap").rename(tmp_path / "later.mcap")
    (tmp_path / "d.converting").mkdir()
    (tmp_path / "d.converting/settings.json").write_text('{"task": "another"}')
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 1
    assert "was begun with another task" in capsys.readouterr().err
    assert convert(bags, "--config", config, "--output", tmp_path / "d", "--restart") == 0


def interrupted(tmp_path: Path, config: Path, sent: signal.Signals) -> tuple[list[str], int]:
    """A conversion of three bags in two processes gets a signal once a bag is converted.

    Returns:
        Its command line, and its exit status.
    """
    for index in range(3):
        write_plain_bag(tmp_path / f"bags/{index}.mcap", recording(3.0))
    work = tmp_path / "d.converting"
    command_line = [sys.executable, "-m", "gr00t_policy_core", "convert", str(tmp_path / "bags")]
    command_line += ["--config", str(config), "--output", str(tmp_path / "d"), "--jobs", "2"]

    def has_finished_a_bag() -> bool:
        return any(p.parent.suffix != ".part" for p in work.glob("*/report.json"))

    process = subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(
            lambda: has_finished_a_bag() or process.poll() is not None,
            timeout_s=240.0,  # two encoders on a machine that is busy already
            what="a bag is converted",
        )
    finally:
        process.send_signal(sent)
        process.communicate(timeout=60)
    assert has_finished_a_bag()
    assert not (tmp_path / "d").exists()
    return command_line, process.returncode


def test_ctrl_c_ends_a_conversion_and_leaves_no_dataset(tmp_path: Path, config: Path) -> None:
    _, status = interrupted(tmp_path, config, signal.SIGINT)
    assert status == 130


def test_a_killed_conversion_leaves_no_half_episode_and_goes_on(
    tmp_path: Path, config: Path
) -> None:
    command_line, status = interrupted(tmp_path, config, signal.SIGKILL)
    assert status == -signal.SIGKILL
    # The processes of the pool end with their parent: nobody writes any more.
    result = subprocess.run(command_line, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "3 of 3 bags, 3 episodes, 180 steps" in result.stdout
    assert LeRobotDataset(tmp_path / "d").episodes[2].length == 60


def test_two_conversions_of_one_dataset_do_not_meet(
    tmp_path: Path, bags: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[int] = []
    really = bag_conversion.convert_bag

    def convert_twice(*arguments: Any) -> Any:
        if not results:
            results.append(0)
            results.append(convert(bags, "--config", config, "--output", tmp_path / "d"))
        return really(*arguments)

    monkeypatch.setattr(conversion, "convert_bag", convert_twice)
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 0
    assert results == [0, 1]


def test_a_changed_bag_is_converted_anew(
    tmp_path: Path, bags: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "write_dataset", lambda *a, **k: shutil.rmtree("/nowhere"))
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 1
    monkeypatch.undo()
    write_plain_bag(bags / "b.mcap", recording(3.0))
    os.utime(bags / "b.mcap")
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 0
    assert report_of(tmp_path / "d")["steps"] == 100
