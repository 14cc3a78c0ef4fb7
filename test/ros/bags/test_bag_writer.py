# SPDX-License-Identifier: Apache-2.0
"""Episodes as bags: what rosbag2 and the `mcap` library expect is there, whole or not at all."""

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
import yaml
from bags_for_tests import PERIOD_NS, START_NS, TYPE, joints, mcap_of, positions, write_joints
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader

from gr00t_ros.bags.bag_metadata import custom_data_of, replace_custom_data
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.bags.mcap_writer import CHUNK_BYTES
from gr00t_ros.bags.writer import BagWriter

WHOLE = EpisodeInfo(task="wave", outcome="success", truncated="")
QOS = "- history: 1\n  depth: 10\n"


def metadata_of(bag: Path) -> dict[str, object]:
    content = yaml.safe_load((bag / "metadata.yaml").read_text())
    return dict(content["rosbag2_bagfile_information"])


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_what_was_written_is_read(tmp_path: Path, compression: str) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo(), compression=compression)
    bag.add_topic(joints())
    write_joints(bag, 100, padding=CHUNK_BYTES // 30)

    path = bag.finish(WHOLE)

    assert path == tmp_path / "episode"
    assert positions(path) == [float(index) for index in range(100)]
    with open(mcap_of(path), "rb") as file:
        summary = make_reader(file).get_summary()
        assert summary.statistics.chunk_count >= 3
        assert summary.statistics.message_count == 100
        assert {index.compression for index in summary.chunk_indexes} == {
            "" if compression == "none" else compression
        }


def test_the_file_reads_from_front_to_back_without_its_summary(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo())
    bag.add_topic(joints())
    write_joints(bag, 10)
    path = bag.finish(WHOLE)

    with open(mcap_of(path), "rb") as file:
        names = [type(record).__name__ for record in StreamReader(file).records]

    assert names[:4] == ["Header", "Metadata", "Schema", "Channel"]
    assert names.count("Message") == 10
    assert names[-1] == "Footer"


def test_the_messages_keep_their_stamps_and_counts(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo())
    bag.add_topic(joints(qos_profiles=QOS, type_hash="RIHS01_ab"))
    write_joints(bag, 2)
    path = bag.finish(WHOLE)

    with open(mcap_of(path), "rb") as file:
        found = list(make_reader(file).iter_messages())

    schema, channel, message = found[1]
    assert (schema.name, schema.encoding) == (TYPE, "ros2msg")
    assert channel.message_encoding == "cdr"
    assert channel.metadata == {"offered_qos_profiles": QOS, "topic_type_hash": "RIHS01_ab"}
    assert message.log_time == START_NS + PERIOD_NS
    assert message.publish_time == START_NS + PERIOD_NS - 1000
    assert message.sequence == 2


def test_metadata_is_what_rosbag2_reads(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo())
    bag.add_topic(joints(qos_profiles=QOS))
    bag.add_topic(joints("/silent"))
    write_joints(bag, 11)
    path = bag.finish(WHOLE)

    metadata = metadata_of(path)

    assert metadata["version"] == 8
    assert metadata["storage_identifier"] == "mcap"
    assert metadata["relative_file_paths"] == [mcap_of(path).name] == ["episode_0.mcap"]
    assert metadata["starting_time"] == {"nanoseconds_since_epoch": START_NS}
    assert metadata["duration"] == {"nanoseconds": 10 * PERIOD_NS}
    assert metadata["message_count"] == 11
    topics = metadata["topics_with_message_count"]
    assert [topic["message_count"] for topic in topics] == [11, 0]
    assert topics[0]["topic_metadata"]["offered_qos_profiles"] == QOS
    assert EpisodeInfo.from_custom_data(metadata["custom_data"]) == WHOLE
    with open(mcap_of(path), "rb") as file:
        last = list(make_reader(file).iter_metadata())[-1]
    assert last.name == "rosbag2"
    inside = yaml.safe_load(last.metadata["serialized_metadata"])
    assert inside == metadata


def test_an_episode_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo())
    bag.add_topic(joints())
    write_joints(bag, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["episode.partial"]

    bag.discard()

    assert list(tmp_path.iterdir()) == []


def test_an_outcome_may_be_set_later(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo())
    path = bag.finish(WHOLE)

    replace_custom_data(path, {"gr00t_ros.outcome": "failure", "weather": "sunny"})

    data = custom_data_of(path)
    assert EpisodeInfo.from_custom_data(data).outcome == "failure"
    assert data["weather"] == "sunny"
    assert sorted(file.name for file in path.iterdir()) == ["episode_0.mcap", "metadata.yaml"]


@pytest.mark.parametrize("text", ["", "[]", "a: 1", "rosbag2_bagfile_information: 3", "{"])
def test_what_is_no_metadata_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(ValueError, match="is not the metadata of a bag"):
        custom_data_of(tmp_path)


@pytest.fixture
def small_disk() -> int:
    """Lets no file of this process grow beyond so many bytes, as a full disk would."""
    limit = 8 * CHUNK_BYTES
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_a_truncated_episode_that_opens(tmp_path: Path, small_disk: int) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo(task="wave"))
    bag.add_topic(joints())

    with pytest.raises(OSError, match="too large") as caught:
        write_joints(bag, 1000, padding=CHUNK_BYTES // 10)
    path = bag.finish(EpisodeInfo(task="wave", truncated="the disk is full"))

    assert caught.value.errno == errno.EFBIG
    assert path.name == "episode.truncated"
    found = positions(path)
    assert found == [float(index) for index in range(len(found))]
    assert len(found) > 60
    assert mcap_of(path).stat().st_size <= small_disk
    info = EpisodeInfo.from_custom_data(custom_data_of(path))
    assert info.truncated == "the disk is full"


def test_a_whole_episode_does_not_shrink_to_fit_the_disk(tmp_path: Path, small_disk: int) -> None:
    bag = BagWriter(tmp_path / "episode", EpisodeInfo(task="wave"))
    bag.add_topic(joints())
    write_joints(bag, 1, padding=small_disk - 9000)
    write_joints(bag, 50)

    with pytest.raises(OSError, match="too large"):
        bag.finish(EpisodeInfo(truncated="", notes="n" * 9000))

    assert [path.name for path in tmp_path.iterdir()] == ["episode.partial"]
    bag.abandon()


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        BagWriter(tmp_path / "file" / "episode", EpisodeInfo())
    assert os.listdir(tmp_path) == ["file"]
