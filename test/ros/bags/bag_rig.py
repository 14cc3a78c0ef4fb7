# SPDX-License-Identifier: Apache-2.0
"""Bags for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from demonstration_bags import (
    Recorded,
    recording,
    write_episode,
    write_plain_bag,
)
from mcap.reader import make_reader

from gr00t_ros.bags.episode_info import EpisodeInfo

MESSAGES = recording(1.0)
TYPES = {
    "/front/image_raw": "sensor_msgs/msg/Image",
    "/joint_states": "sensor_msgs/msg/JointState",
    "/commands": "trajectory_msgs/msg/JointTrajectory",
}
INFO = EpisodeInfo(task="wave", outcome="success", truncated="")

Write = Callable[[Path, Iterable[Recorded]], Path]


def write_ours(path: Path, messages: Iterable[Recorded]) -> Path:
    return write_episode(path.with_suffix(""), messages, INFO)


def write_folder(path: Path, messages: Iterable[Recorded]) -> Path:
    """A folder of two files, as rosbag2 splits a bag, with its metadata.yaml."""
    both = list(messages)
    folder = path.with_suffix("")
    half = len(both) // 2
    write_plain_bag(folder / "a_1.mcap", both[half:])
    write_plain_bag(folder / "a_0.mcap", both[:half])
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  relative_file_paths: [bag/a_0.mcap, a_1.mcap]\n"
    )
    return folder


def chunk_offsets(path: Path) -> list[int]:
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    return [chunk.chunk_start_offset for chunk in summary.chunk_indexes]
