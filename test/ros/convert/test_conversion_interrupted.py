# SPDX-License-Identifier: Apache-2.0
"""Conversions that are interrupted, killed or begun twice, and how they go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from demonstration_bags import (
    recording,
    write_plain_bag,
)
from helpers import wait_until

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
from conversion_rig import convert, report_of

from gr00t_policy_core.datasets import dataset_writer
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.convert import bag_conversion, conversion


def disk_full(*_: Any) -> None:
    raise OSError("No space left on device")


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
    (tmp_path / "d.converting/a.mcap-0").mkdir(parents=True)
    (tmp_path / "d.converting/a.mcap-0/report.json").write_text("{}")  # what was finished
    (tmp_path / "d.converting/settings.json").write_text('{"task": "another"}')
    assert convert(bags, "--config", config, "--output", tmp_path / "d") == 1
    assert "was begun with another task" in capsys.readouterr().err
    assert convert(bags, "--config", config, "--output", tmp_path / "d", "--restart") == 0


def test_a_conversion_that_fails_before_a_bag_is_finished_leaves_nothing(
    tmp_path: Path, bags: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "convert_bag", disk_full)
    assert convert(bags, "--config", config, "--output", tmp_path / "made" / "d") == 1
    assert not (tmp_path / "made").exists()


def test_a_dataset_that_cannot_be_written_is_not_left_half(
    tmp_path: Path, bags: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_writer, "write_json", disk_full)
    assert convert(bags, "--config", config, "--output", tmp_path / "made" / "d") == 1
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["d.converting"]


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
        output, _ = process.communicate(timeout=60)
    assert has_finished_a_bag(), output
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
