# SPDX-License-Identifier: Apache-2.0
"""The recording benchmark: it counts what is missing, and it runs through."""

from pathlib import Path

from bench import record
from bench.record_report import Row, report
from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.bags.writer import BagWriter


def row_of(folder: Path, sent: dict[str, int]) -> Row:
    bag = BagWriter(folder / "episode", EpisodeInfo())
    for name in ("/a", "/b"):
        bag.add_topic(BagTopic(name=name, type="std_msgs/msg/String"))
        for _ in range(3):
            bag.write(name, b"1234", received_ns=1, published_ns=1)
    path = bag.finish(EpisodeInfo(truncated=""))
    return record.row(path, {"sent": sent, "latest_s": 0.001}, "reliable", "none", 2.0, 1.0, 0.5)


def test_what_is_missing_is_counted_by_topic(tmp_path: Path) -> None:
    found = row_of(tmp_path, {"/a": 3, "/b": 5, "/c": 1})
    assert found.missing == {"/b": 2, "/c": 1}
    assert found.sent == 9
    assert found.bytes > 24
    cells = [cell.strip() for cell in report([found]).splitlines()[-1].strip("|").split("|")]
    assert cells[3:6] == ["9", "3", "50"]


def test_nothing_is_missing_where_all_is_there(tmp_path: Path) -> None:
    assert row_of(tmp_path, {"/a": 3, "/b": 3}).missing == {}


def test_the_benchmark_runs_through() -> None:
    (found,) = record.measure([("reliable", "none")], 0.5)
    assert found.sent == 4 * 15 + 2 * 500
    assert found.cpu_s > 0.0
    assert found.bytes > 0
