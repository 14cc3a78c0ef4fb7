# SPDX-License-Identifier: Apache-2.0
"""What is sound in a damaged bag is read, and what is lost is named and counted."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from bag_rig import MESSAGES, TYPES, chunk_offsets, write_folder, write_ours
from demonstration_bags import (
    recording,
    write_plain_bag,
)

from gr00t_ros.bags.mcap_file import CUT_OFF
from gr00t_ros.bags.mcap_writer import CHUNK_HEAD, MESSAGE_HEAD
from gr00t_ros.bags.reader import Bag


def test_a_damaged_chunk_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", recording(4.0))
    whole = list(Bag(path).messages(TYPES))
    chunks = chunk_offsets(path)
    data = bytearray(path.read_bytes())
    data[chunks[3] + 100 : chunks[3] + 300] = bytes(200)
    path.write_bytes(data)
    bag = Bag(path)
    read = list(bag.messages(TYPES))
    assert read[0] == whole[0]
    assert read[-1] == whole[-1]
    lost = Counter(message.topic for message in whole) - Counter(message.topic for message in read)
    assert 0 < lost.total() < len(whole) / 4
    counts = " and ".join(f"{count} of {topic}" for topic, count in sorted(lost.items()))
    assert re.fullmatch(
        rf"bag.mcap is damaged, the rest was read; lost: from \d.\d\d s to \d.\d\d s {counts}",
        bag.truncated,
    )


@pytest.mark.parametrize("length", [100, 2**20, 2**40, 2**63])
@pytest.mark.parametrize("has_end", [True, False])
def test_a_chunk_of_which_one_length_is_damaged_is_read(
    tmp_path: Path, length: int, has_end: bool
) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", recording(4.0))
    whole = list(Bag(path).messages(TYPES))
    data = bytearray(path.read_bytes())
    chunks = chunk_offsets(path)
    data[chunks[2] + 1 : chunks[2] + 9] = length.to_bytes(8, "little")
    place = chunks[4] + CHUNK_HEAD.size + len("zstd")
    data[place : place + 8] = length.to_bytes(8, "little")
    path.write_bytes(data if has_end else data[: chunks[-1]])
    bag = Bag(path)
    read = list(bag.messages(TYPES))
    assert read == whole[: len(read)]
    assert len(read) == len(whole) or not has_end
    assert bag.truncated == ("" if has_end else CUT_OFF.format("bag.mcap"))


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (lambda data, chunk: data[: chunk + 9], "its recorder was killed, or its last record is"),
        (lambda data, chunk: data[: chunk + 3], "its recorder was killed: it was read up to"),
        (lambda data, chunk: data[: chunk + 200], "its recorder was killed: it was read up to"),
        (lambda data, chunk: data[:chunk] + b"\x04" + b"\xff" * 300, "killed, or its last record"),
        (
            lambda data, chunk: data[: chunk + 1] + b"\xff" * 8 + data[chunk + 9 : chunk + 200],
            "bag.mcap is damaged, it was read up to there",
        ),
        (lambda data, chunk: data[:chunk] + bytes(300), "is damaged, it was read up to there"),
    ],
)
def test_a_killed_recorder_is_told_from_a_damaged_end_where_that_can_be_known(
    tmp_path: Path, left: Callable[[bytes, int], bytes], told: str
) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", recording(4.0))
    path.write_bytes(left(path.read_bytes(), chunk_offsets(path)[4]))
    bag = Bag(path)
    assert list(bag.messages(TYPES))
    assert told in bag.truncated


def test_damaged_messages_of_a_chunk_are_lost_alone(tmp_path: Path) -> None:
    folder = write_ours(tmp_path / "bag.mcap", recording(4.0))
    (path,) = folder.glob("*.mcap")
    whole = list(Bag(folder).messages(TYPES))
    data = bytearray(path.read_bytes())
    for message in (whole[100], whole[200], whole[201]):
        place = data.index(message.data) - MESSAGE_HEAD.size
        data[place + 1 : place + 9] = os.urandom(8)
    path.write_bytes(data)
    bag = Bag(folder)
    read = list(bag.messages(TYPES))
    assert read == whole[:100] + whole[101:200] + whole[202:]
    assert "lost: from 0.00 s to 3.99 s " in bag.truncated
    assert sum(map(int, re.findall(r"(\d+) of /", bag.truncated))) == 3


def test_losses_are_counted_over_the_files_of_a_bag(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "bag.mcap", recording(4.0))
    for path in folder.glob("*.mcap"):
        data = bytearray(path.read_bytes())
        place = chunk_offsets(path)[1] + 100
        data[place : place + 50] = bytes(50)
        path.write_bytes(data)
    counts = [message.losses for message in Bag(folder).messages(TYPES)]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


def test_a_flipped_bit_loses_the_chunk_whose_checksum_finds_it(tmp_path: Path) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)
    data = bytearray(path.read_bytes())
    data[chunk_offsets(path)[-1] + 200] ^= 1
    path.write_bytes(data)
    bag = Bag(path)
    assert len(list(bag.messages(TYPES))) < len(MESSAGES)
    assert bag.truncated.startswith("bag.mcap is damaged, the rest was read; lost: from 0.")


def test_messages_of_a_topic_whose_name_is_lost_are_counted(tmp_path: Path) -> None:
    folder = write_ours(tmp_path / "bag.mcap", MESSAGES)
    (path,) = folder.glob("*.mcap")
    data = path.read_bytes()[: chunk_offsets(path)[-1] + 10**9]
    data = data[: data.rindex(b"\x0f" + (4).to_bytes(8, "little"))]  # the end is gone
    path.write_bytes(data.replace(b"/joint_states", b"\xff" * len("/joint_states"), 1))
    count = sum(message.topic == "/joint_states" for message in MESSAGES)
    bag = Bag(path)
    assert set(bag.topics) == set(TYPES) - {"/joint_states"}
    assert len(list(bag.messages(TYPES))) == len(MESSAGES) - count
    assert f"the topic of {count} messages" in bag.truncated
