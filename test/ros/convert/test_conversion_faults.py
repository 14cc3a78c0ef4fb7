# SPDX-License-Identifier: Apache-2.0
"""Bags and arguments that cannot be converted: each is named with its problem."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from demonstration_bags import (
    Recorded,
    recording,
    truncate,
    write_episode,
    write_plain_bag,
)
from mcap.reader import make_reader
from policies_for_tests import parameters

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
from conversion_rig import convert, report_of, write_config

from gr00t_ros.bags.episode_info import EpisodeInfo


def test_bags_of_different_robots_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, rate in enumerate((20.0, 10.0)):
        text = yaml.safe_dump({"/**": {"ros__parameters": parameters(action_rate_hz=rate)}})
        info = EpisodeInfo(truncated="", config=text)
        write_episode(tmp_path / f"r/episode_{number:06d}", recording(0.5), info)
    assert convert(tmp_path / "r", "--output", tmp_path / "d") == 1
    assert "another action_rate_hz than in" in capsys.readouterr().err


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


def test_no_command_is_in_force_over_a_part_of_a_bag_that_is_lost(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_plain_bag(tmp_path / "bag.mcap", recording(6.0))
    data = bytearray(bag.read_bytes())
    with bag.open("rb") as stream:
        chunks = make_reader(stream).get_summary().chunk_indexes
    place = chunks[len(chunks) // 2].chunk_start_offset + 100
    data[place : place + 50] = bytes(50)
    bag.write_bytes(data)
    assert convert(bag, "--config", config, "--output", tmp_path / "d") == 0
    report = report_of(tmp_path / "d")
    assert report["episodes"] == 2
    assert report["interruptions"] == {"a part of the bag is lost": 1}
    assert "bag.mcap is damaged, the rest was read; lost: from 2." in capsys.readouterr().out


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
        (
            ["--image-size", "640"],
            "height x width in pixels, for example 480x640, got '640'",
        ),
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
    flags = ["--image-size", "16x33", "--output", tmp_path / "d"]
    assert convert(bags, "--config", config, *flags) == 1
    output = capsys.readouterr().out
    assert "16x33 px: height and width of a video must be even" in output
    assert "no dataset: no bag gave an episode" in output
    assert not list(tmp_path.glob("d*"))
