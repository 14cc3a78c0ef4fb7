# SPDX-License-Identifier: Apache-2.0
"""Bags are read whoever wrote them, in order, up to where they are whole."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bag_rig import INFO, MESSAGES, TYPES, Write, write_folder, write_ours
from demonstration_bags import (
    START_NS,
    recording,
    truncate,
    write_plain_bag,
    write_sqlite_bag,
)
from mcap.writer import Writer
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState

from gr00t_ros.bags import reader
from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.bags.mcap_file import McapFile
from gr00t_ros.bags.reader import Bag, find_bags

every_kind = pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_plain_bag, "bag.mcap"),
        (write_sqlite_bag, "bag.db3"),
        (write_ours, "bag.mcap"),
        (write_folder, "bag.mcap"),
    ],
)


@every_kind
def test_every_message_comes_in_order(tmp_path: Path, write: Write, name: str) -> None:
    bag = Bag(write(tmp_path / name, MESSAGES))
    assert bag.topics == TYPES
    read = list(bag.messages(TYPES))
    assert [(m.topic, m.received_ns) for m in read] == [
        (m.topic, START_NS + round(m.time_s * 1e9)) for m in MESSAGES
    ]
    for found, written in zip(read, MESSAGES, strict=True):  # the padding of CDR is arbitrary
        assert deserialize_message(found.data, type(written.message)) == written.message
    assert bag.truncated == ""
    assert bag.duration_s > 0.8


@every_kind
def test_only_the_wanted_topics_are_read(tmp_path: Path, write: Write, name: str) -> None:
    bag = Bag(write(tmp_path / name, MESSAGES))
    assert {m.topic for m in bag.messages(["/joint_states"])} == {"/joint_states"}


def test_an_episode_of_ours_tells_its_task(tmp_path: Path) -> None:
    folder = write_ours(tmp_path / "bag.mcap", MESSAGES)
    assert Bag(folder).info == INFO
    # The file alone has it, too.
    (file,) = folder.glob("*.mcap")
    assert Bag(file).info == INFO
    assert Bag(write_plain_bag(tmp_path / "plain.mcap", MESSAGES)).info is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_file_without_an_end_is_read_up_to_its_last_whole_chunk(
    tmp_path: Path, share: float
) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", recording(4.0))
    whole = list(Bag(path).messages(TYPES))
    truncate(path, share)
    bag = Bag(path)
    read = list(bag.messages(TYPES))
    assert read == whole[: len(read)]
    assert len(read) > (share - 0.35) * len(whole)
    assert bag.truncated == (
        "bag.mcap has no end, its recorder was killed: it was read up to its last whole chunk"
    )
    assert set(bag.topics) <= set(TYPES)
    assert bag.duration_s > 0


def test_an_end_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)
    monkeypatch.setattr(McapFile, "records", None)
    assert Bag(path).topics == TYPES


def test_bags_are_found_below_a_folder(tmp_path: Path) -> None:
    write_ours(tmp_path / "b" / "episode_000001.mcap", MESSAGES)
    write_ours(tmp_path / "b" / "episode_000000.mcap", MESSAGES)
    write_plain_bag(tmp_path / "a.mcap", MESSAGES)
    partial = tmp_path / "b" / "episode_000002.partial"
    write_plain_bag(partial / "episode_000002_0.mcap", MESSAGES)
    found = [path.relative_to(tmp_path).as_posix() for path in find_bags([tmp_path])]
    assert found == ["a.mcap", "b/episode_000000", "b/episode_000001"]
    assert find_bags([partial, tmp_path / "b", tmp_path / "b"])[0] == partial
    assert len(find_bags([partial, tmp_path / "b", tmp_path / "b"])) == 3


def test_a_bag_that_is_found_twice_is_one_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bags"
    write_plain_bag(folder / "a.mcap", MESSAGES)
    (folder / "around").symlink_to(".")
    (folder / "again").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    assert find_bags([Path("bags"), folder, folder / "around" / "a.mcap"]) == [Path("bags/a.mcap")]


def test_what_cannot_be_opened_is_a_bag_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mcap")
    (tmp_path / "link.mcap").symlink_to("nowhere")
    assert len(find_bags([tmp_path])) == 2
    for name in ("pipe.mcap", "link.mcap"):
        with pytest.raises(BagError, match="is not a file, or a link to one that is gone"):
            Bag(tmp_path / name)


def test_a_file_that_the_disk_does_not_give_is_a_bag_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(BagError, match=r"bag.mcap: cannot be read: Permission denied"):
        Bag(path)


@pytest.mark.parametrize("length", [8, 20, 60])
def test_a_file_that_holds_no_topic_says_that_it_has_no_end(tmp_path: Path, length: int) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BagError, match=r"no message that can be read: bag.mcap has no end"):
        Bag(path)


@pytest.mark.parametrize(
    "entry",
    ["custom_data: [1, 2]", "custom_data: {gr00t_ros.task: 3}", "relative_file_paths: 3"],
)
def test_metadata_of_another_kind_is_refused(tmp_path: Path, entry: str) -> None:
    folder = write_ours(tmp_path / "bag.mcap", MESSAGES)
    (folder / "metadata.yaml").write_text(f"rosbag2_bagfile_information: {{{entry}}}")
    with pytest.raises(BagError, match="is no"):
        Bag(folder)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "has no bag, neither metadata.yaml nor"),
        (
            lambda path: (path / "episode_000007.partial").mkdir(parents=True),
            "has no bag, only episode_000007.partial, .* whose recorder was killed: name it",
        ),
    ],
)
def test_a_path_without_a_bag_is_refused(
    tmp_path: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(tmp_path / "bag")
    with pytest.raises(BagError, match=problem):
        find_bags([tmp_path / "bag"])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("bag.mcap", b"no bag", "is not an MCAP file"),
        ("bag.mcap", b"", "is not an MCAP file"),
        ("bag.db3", b"no bag at all, sorry", "cannot be read as a bag"),
        ("bag.mcap.zstd", b"", "is compressed as a whole; unpack it"),
        ("bag.txt", b"", r"is not a bag, expected \*.mcap or \*.db3"),
    ],
)
def test_a_file_that_is_no_bag_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=problem):
        Bag(tmp_path / name)


def test_a_folder_whose_metadata_is_damaged_or_names_no_file_is_refused(tmp_path: Path) -> None:
    folder = write_ours(tmp_path / "bag.mcap", MESSAGES)
    (folder / "bag_0.mcap").unlink()
    with pytest.raises(BagError, match=r"no such file, but the bag's metadata.yaml names it"):
        Bag(folder)
    (folder / "metadata.yaml").write_text("[")
    with pytest.raises(BagError, match="is not the metadata of a bag"):
        Bag(folder)


def test_a_bag_of_ros_1_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "bag.mcap").open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros1")
        schema = writer.register_schema("sensor_msgs/JointState", "ros1msg", b"")
        writer.register_channel("/joint_states", "ros1", schema)
        writer.finish()
    with pytest.raises(BagError, match="is a bag of ROS 1; convert it: rosbags-convert"):
        Bag(tmp_path / "bag.mcap")


def test_without_the_mcap_library_rosbag2_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for rosbag2_py, which PyPI does not have: the calls that we make, no more."""
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)
    monkeypatch.setitem(sys.modules, "gr00t_ros.bags.mcap_file", None)
    monkeypatch.setitem(sys.modules, "rosbag2_py", rosbag2_stand_in())
    monkeypatch.delitem(sys.modules, "gr00t_ros.bags.rosbag2_file", raising=False)
    bag = Bag(path)
    assert bag.topics == {"/joint_states": "sensor_msgs/msg/JointState"}
    (message,) = bag.messages(["/joint_states"])
    assert deserialize_message(message.data, JointState).name == ["a"]


def test_without_anything_that_reads_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plain_bag(tmp_path / "bag.mcap", MESSAGES)
    monkeypatch.setitem(sys.modules, "gr00t_ros.bags.mcap_file", None)
    monkeypatch.setitem(sys.modules, "rosbag2_py", None)
    monkeypatch.delitem(sys.modules, "gr00t_ros.bags.rosbag2_file", raising=False)
    with pytest.raises(ImportError, match="install mcap or ROS 2's rosbag2_py"):
        reader.open_file(path)


def rosbag2_stand_in() -> types.ModuleType:
    class SequentialReader:
        def open(self, storage: Any, converter: Any) -> None:
            assert storage["storage_id"] == "mcap"
            data = serialize_message(JointState(name=["a"]))
            self._messages = [("/joint_states", data, START_NS)]

        def get_all_topics_and_types(self) -> list[Any]:
            topic = types.SimpleNamespace(name="/joint_states", type="sensor_msgs/msg/JointState")
            return [topic]

        def get_metadata(self) -> Any:
            duration = types.SimpleNamespace(nanoseconds=0)
            return types.SimpleNamespace(duration=duration, custom_data={})

        def set_filter(self, wanted: Any) -> None:
            self._topics = wanted["topics"]

        def has_next(self) -> bool:
            return bool(self._messages)

        def read_next(self) -> tuple[str, bytes, int]:
            return self._messages.pop(0)

    module = types.ModuleType("rosbag2_py")
    module.SequentialReader = SequentialReader  # type: ignore[attr-defined]
    module.StorageOptions = dict  # type: ignore[attr-defined]
    module.ConverterOptions = lambda *names: names  # type: ignore[attr-defined]
    module.StorageFilter = dict  # type: ignore[attr-defined]
    return module
