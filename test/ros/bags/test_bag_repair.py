# SPDX-License-Identifier: Apache-2.0
"""What a killed recorder left opens up to its last half second, and is marked as truncated."""

import errno
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bags_for_tests import joints, mcap_of, positions, write_joints
from mcap.reader import make_reader

from gr00t_ros.bags import repair
from gr00t_ros.bags.bag_metadata import custom_data_of
from gr00t_ros.bags.episode_info import UNFINISHED, EpisodeInfo
from gr00t_ros.bags.mcap_writer import McapWriter
from gr00t_ros.bags.reader import Bag
from gr00t_ros.bags.repair import MAX_LEFT_BYTES, repair_all, scan
from gr00t_ros.bags.writer import BagWriter

INFO = EpisodeInfo(task="wave", config="", started_ns=5)
CHUNKS, PER_CHUNK = 6, 50


def leave(folder: Path, chunks: int = CHUNKS, *, compression: str = "none") -> Path:
    """Write an episode of some chunks, and leave it as the end of the process would."""
    bag = BagWriter(folder / "episode_000003", INFO, compression=compression)
    bag.add_topic(joints())
    for _ in range(chunks):
        write_joints(bag, PER_CHUNK)
        bag.flush()
    bag.abandon()
    return folder / "episode_000003.partial"


def test_what_was_left_becomes_a_truncated_bag(tmp_path: Path) -> None:
    partial = leave(tmp_path)

    assert list(repair_all(tmp_path)) == [(partial, tmp_path / "episode_000003.truncated")]

    bag = tmp_path / "episode_000003.truncated"
    assert len(positions(bag)) == CHUNKS * PER_CHUNK
    info = EpisodeInfo.from_custom_data(custom_data_of(bag))
    assert (info.task, info.truncated) == ("wave", UNFINISHED)
    assert list(repair_all(tmp_path)) == []


def test_wherever_the_file_is_cut_the_whole_chunks_before_are_there(tmp_path: Path) -> None:
    whole = mcap_of(leave(tmp_path / "whole")).read_bytes()
    cuts = random.Random(1).sample(range(len(whole)), 40)
    counts = []
    for cut in sorted(cuts):
        partial = tmp_path / f"{cut}" / "episode_000003.partial"
        partial.mkdir(parents=True)
        (partial / "episode_000003_0.mcap").write_bytes(whole[:cut])
        ((_, bag),) = repair_all(partial.parent)
        counts.append(len(positions(bag)) if bag is not None else 0)
        assert bag is not None or not partial.exists()
    assert counts == sorted(counts)
    assert {count % PER_CHUNK for count in counts} == {0}
    assert len(set(counts)) > 3


@pytest.mark.parametrize("damage", [bytes(5000), b"\x06" + bytes([255] * 3000), b"\x05garbage"])
def test_what_a_power_cut_left_after_the_last_chunk_is_dropped(
    tmp_path: Path, damage: bytes
) -> None:
    partial = leave(tmp_path)
    with mcap_of(partial).open("ab") as file:
        file.write(damage)

    ((_, bag),) = repair_all(tmp_path)

    assert bag is not None
    assert len(positions(bag)) == CHUNKS * PER_CHUNK
    with open(mcap_of(bag), "rb") as file:
        assert make_reader(file).get_summary().statistics.chunk_count == CHUNKS


def test_a_file_that_is_damaged_anywhere_raises_nothing(tmp_path: Path) -> None:
    whole = mcap_of(leave(tmp_path / "whole")).read_bytes()
    random_ = random.Random(2)
    for number in range(150):
        damaged = bytearray(whole)
        at = random_.randrange(len(whole) if number % 3 else 2000)
        damaged[at : at + 3] = random_.randbytes(3)
        partial = tmp_path / f"{number}" / "episode_000003.partial"
        partial.mkdir(parents=True)
        (partial / "episode_000003_0.mcap").write_bytes(damaged)

        ((_, bag),) = repair_all(partial.parent)

        if bag not in (None, partial):
            EpisodeInfo.from_custom_data(custom_data_of(bag))


def damage(partial: Path, chunk: int, at: int, content: bytes) -> bytes:
    """Write over what stands so many bytes behind the start of a chunk; returns the whole file."""
    path = mcap_of(partial)
    places = scan(path).index.chunks
    data = bytearray(path.read_bytes())
    place = places[chunk].chunk_start_offset + at
    data[place : place + len(content)] = content
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize(
    ("at", "content", "lost"),
    [
        (0, b"\x05garbage!", 0),  # the head; the messages in the chunk are found
        (1, b"\xff" * 8, 0),  # one of its two lengths
        (0, bytes(8192), PER_CHUNK),  # more than all of it
    ],
)
def test_what_is_sound_behind_a_damaged_chunk_is_saved(
    tmp_path: Path, at: int, content: bytes, lost: int
) -> None:
    partial = leave(tmp_path)
    chunks = scan(mcap_of(partial)).index.chunks
    content = content[: chunks[3].chunk_start_offset - chunks[2].chunk_start_offset]
    damaged = damage(partial, 2, at, content)

    ((_, bag),) = repair_all(tmp_path)

    assert bag == tmp_path / "episode_000003.truncated"
    assert len(positions(bag)) == CHUNKS * PER_CHUNK - lost
    assert positions(bag)[-1] == PER_CHUNK - 1
    info = EpisodeInfo.from_custom_data(custom_data_of(bag))
    assert info.task == "wave"
    assert info.truncated.startswith(UNFINISHED)
    assert ("lost: from" in info.truncated) == (content != b"\xff" * 8)
    assert Bag(bag).info == Bag(mcap_of(bag)).info == info
    assert (bag / "episode_000003_0.mcap.damaged").read_bytes() == damaged
    assert sum(1 for _ in Bag(bag).messages(["/joint_states"])) == CHUNKS * PER_CHUNK - lost


def test_a_repair_counts_what_is_lost_by_topic_and_time(tmp_path: Path) -> None:
    partial = leave(tmp_path, compression="lz4")
    damage(partial, 2, 60, bytes(50))

    ((_, bag),) = repair_all(tmp_path)  # the damage within a chunk is not looked for ...

    read = Bag(bag)
    assert sum(1 for _ in read.messages(["/joint_states"])) == (CHUNKS - 1) * PER_CHUNK
    assert read.truncated.startswith(  # ... but found by whoever reads it
        "episode_000003_0.mcap is damaged, the rest was read; lost: from 0.00 s to 0.05 s "
        f"{PER_CHUNK} of /joint_states; "
    )

    second = leave(tmp_path / "second", compression="lz4")
    damage(second, 2, 60, bytes(50))
    damage(second, 1, 0, bytes(9))
    ((_, bag),) = repair_all(tmp_path / "second")
    assert custom_data_of(bag)["gr00t_ros.dropped"] == f"/joint_states: {PER_CHUNK * 2}\n"


def test_a_repair_that_is_killed_begins_anew(tmp_path: Path, monkeypatch: Any) -> None:
    partial = leave(tmp_path)
    damage(partial, 2, 0, b"garbage!!")
    path = mcap_of(partial)
    with monkeypatch.context() as patch:
        patch.setattr(repair, "_publish", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(repair_all(tmp_path))
    (partial / f"{path.name}.damaged").rename(path)  # as it was between the two renames
    path.rename(partial / f"{path.name}.damaged")
    (partial / f"{path.name}.new").write_bytes(b"half a copy")

    ((_, bag),) = repair_all(tmp_path)

    assert len(positions(bag)) == CHUNKS * PER_CHUNK
    assert sorted(entry.name for entry in bag.iterdir()) == [
        "episode_000003_0.mcap",
        "episode_000003_0.mcap.damaged",
        "metadata.yaml",
    ]


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_damaged_file_is_left_as_it_is_where_the_disk_has_no_room_for_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = leave(tmp_path)
    damaged = damage(partial, 2, 0, b"garbage!!")

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(McapWriter, "flush", no_room)
    assert list(repair_all(tmp_path)) == [(partial, partial)]
    assert mcap_of(partial).read_bytes() == damaged
    assert [entry.name for entry in partial.iterdir()] == ["episode_000003_0.mcap"]


def test_an_episode_whose_description_is_damaged_is_saved_without_it(tmp_path: Path) -> None:
    partial = leave(tmp_path)
    content = mcap_of(partial).read_bytes()
    mcap_of(partial).write_bytes(content.replace(b"task: wave", b"\xff" * 10))

    ((_, bag),) = repair_all(tmp_path)

    assert len(positions(bag)) == CHUNKS * PER_CHUNK
    assert EpisodeInfo.from_custom_data(custom_data_of(bag)).task == ""


def test_a_file_of_which_nothing_can_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    partial = leave(tmp_path)
    content = mcap_of(partial).read_bytes()
    content = content.replace(b"sensor_msgs/msg/JointState", b"\xff" * 26, 1)
    mcap_of(partial).write_bytes(content)

    assert list(repair_all(tmp_path)) == [(partial, partial)]
    assert mcap_of(partial).read_bytes() == content


def test_a_long_file_whose_first_record_has_a_wrong_length_is_saved(tmp_path: Path) -> None:
    partial = leave(tmp_path)
    with mcap_of(partial).open("r+b") as file:
        file.truncate(2 * MAX_LEFT_BYTES)  # grows: the rest of a long episode
        file.seek(9)
        file.write(b"\xff" * 8)
    ((_, bag),) = repair_all(tmp_path)
    assert len(positions(bag)) == CHUNKS * PER_CHUNK
    assert mcap_of(bag).stat().st_size < MAX_LEFT_BYTES


def test_an_episode_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode_000003", INFO)
    bag.add_topic(joints())
    write_joints(bag, 5)
    bag.flush()

    assert list(repair_all(tmp_path)) == []

    assert bag.finish(EpisodeInfo(truncated="")).is_dir()


def test_an_episode_without_a_message_is_removed(tmp_path: Path) -> None:
    partial = leave(tmp_path, chunks=0)
    empty = tmp_path / "episode_000004.partial"
    empty.mkdir()

    assert list(repair_all(tmp_path)) == [(partial, None), (empty, None)]

    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_loses_what_it_had_not_flushed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from bags_for_tests import joints, write_joints\n"
        "from gr00t_ros.bags.writer import BagWriter\n"
        "from gr00t_ros.bags.episode_info import EpisodeInfo\n"
        f"bag = BagWriter(Path({str(tmp_path)!r}, 'episode_000000'), EpisodeInfo(task='wave'))\n"
        "bag.add_topic(joints()); write_joints(bag, 70); bag.flush(); write_joints(bag, 9)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, timeout=120)

    assert done.returncode == -9
    ((_, bag),) = repair_all(tmp_path)
    assert bag is not None
    assert positions(bag) == [float(index) for index in range(70)]
