# SPDX-License-Identifier: Apache-2.0
"""Writes an episode as a ROS bag, whole or not at all. Pure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gr00t_ros.bags.bag_metadata import (
    FILE,
    QOS_KEY,
    RECORD,
    RECORD_KEY,
    TYPE_HASH_KEY,
    BagMetadata,
    BagTopic,
    sync_folder,
    write_synced,
)
from gr00t_ros.bags.episode_info import PARTIAL_SUFFIX, TRUNCATED_SUFFIX, EpisodeInfo
from gr00t_ros.bags.mcap_index import McapIndex
from gr00t_ros.bags.mcap_writer import NO_COMPRESSION, McapWriter

LIBRARY = "gr00t_ros"


class BagWriter:
    """One episode being written. Not safe between threads.

    Args:
        bag: The folder of the episode once it is whole; it is written beside it until then.
        info: The episode as far as it is known. It stays marked as truncated until `finish`.
        compression: ``none``, ``lz4`` or ``zstd``, of the chunks.

    Raises:
        OSError: The folder or the file cannot be made.
        ImportError: The library of the compression is not installed.
    """

    def __init__(self, bag: Path, info: EpisodeInfo, *, compression: str = NO_COMPRESSION) -> None:
        self._bag = bag
        self._folder = bag.with_name(f"{bag.name}{PARTIAL_SUFFIX}")
        self._folder.mkdir(parents=True)
        try:
            self._file = McapWriter(
                self._folder / file_name(bag), library=LIBRARY, compression=compression
            )
            self._topics: list[BagTopic] = []
            self._schemas: dict[str, int] = {}
            self._channels: dict[str, int] = {}
            self._add_metadata(info)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def size(self) -> int:
        """The bytes written so far."""
        return self._file.size

    def add_topic(self, topic: BagTopic) -> None:
        """Add a topic, unless one of its name is there already.

        Raises:
            OSError: It cannot be written.
        """
        if topic.name in self._channels:
            return
        if topic.type not in self._schemas:
            encoding = "ros2msg" if topic.definition else ""
            self._schemas[topic.type] = self._file.add_schema(
                topic.type, encoding, topic.definition
            )
        metadata = {QOS_KEY: topic.qos_profiles, TYPE_HASH_KEY: topic.type_hash}
        self._channels[topic.name] = self._file.add_channel(
            topic.name, self._schemas[topic.type], metadata
        )
        self._topics.append(topic)

    def write(
        self, topic: str, data: bytes, *, received_ns: int, published_ns: int, sequence: int = 0
    ) -> None:
        """Write a serialized message of a topic that was added.

        Args:
            topic: Full name of the topic.
            data: The message as it was received.
            received_ns: When it was received, ns.
            published_ns: When it was published, ns.
            sequence: The publisher's count of it, 0 where that is not known.

        Raises:
            OSError: The disk is full; what was written before is still there.
        """
        self._file.add_message(
            self._channels[topic],
            data,
            log_ns=received_ns,
            publish_ns=published_ns,
            sequence=sequence,
        )

    def flush(self) -> None:
        """Write what was kept back; after it, the end of this process loses nothing.

        Raises:
            OSError: The disk is full; what was written before is still there.
        """
        self._file.flush()

    def finish(self, info: EpisodeInfo) -> Path:
        """Bring the episode to the disk as a whole bag, or as a truncated one if `info` says so.

        On a full disk the last messages of a truncated episode give way to the bag's own end.

        Returns:
            The folder of the bag.

        Raises:
            OSError: The disk is full; the episode is left as after a crash.
        """
        while True:
            try:
                self._add_metadata(info)
                write_synced(self._folder / FILE, self._metadata(info).as_file())
                self._file.finish()
                break
            except OSError:
                if info.is_whole or not self._file.drop_last_chunk():
                    raise
        return publish(self._folder, self._bag, info)

    def discard(self) -> None:
        """Remove the episode from the disk."""
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def abandon(self) -> None:
        """Leave the episode as a crash would leave it."""
        self._file.close()

    def _add_metadata(self, info: EpisodeInfo) -> None:
        self._file.flush()  # so that its messages are counted
        self._file.add_metadata(RECORD, {RECORD_KEY: self._metadata(info).as_record()})

    def _metadata(self, info: EpisodeInfo) -> BagMetadata:
        return bag_metadata(file_name(self._bag), self._topics, self._file.index, info)


def bag_metadata(
    file: str, topics: Iterable[BagTopic], index: McapIndex, info: EpisodeInfo
) -> BagMetadata:
    """The metadata of a bag of one MCAP file.

    Args:
        file: Name of the MCAP file.
        topics: Its topics.
        index: What is in the file so far.
        info: The episode.
    """
    names = {channel.id: channel.topic for channel in index.channels}
    counts = {names[channel]: count for channel, count in index.counts_by_channel().items()}
    return BagMetadata(
        file=file,
        topics=list(topics),
        counts=counts,
        start_ns=index.start_ns,
        end_ns=index.end_ns,
        custom_data=info.as_custom_data(),
        ros_distro=os.environ.get("ROS_DISTRO", ""),
    )


def publish(partial: Path, bag: Path, info: EpisodeInfo) -> Path:
    """Give a finished bag its name, and return its folder.

    Args:
        partial: The folder in which it was written.
        bag: The folder of a whole episode of this name.
        info: The episode; a truncated one gets the suffix of truncated ones.
    """
    folder = bag if info.is_whole else bag.with_name(f"{bag.name}{TRUNCATED_SUFFIX}")
    partial.rename(folder)
    sync_folder(folder.parent)
    return folder


def file_name(bag: Path) -> str:
    """Name of the MCAP file of a bag, as rosbag2 names it."""
    return f"{bag.name}_0.mcap"


def topic_of(channel: Any, schema: Any) -> BagTopic:
    """The topic of a channel and a schema of an MCAP file."""
    return BagTopic(
        name=channel.topic,
        type=schema.name,
        definition=schema.data.decode(errors="replace"),
        qos_profiles=channel.metadata.get(QOS_KEY, ""),
        type_hash=channel.metadata.get(TYPE_HASH_KEY, ""),
    )
