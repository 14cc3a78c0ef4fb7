# SPDX-License-Identifier: Apache-2.0
"""metadata.yaml, which rosbag2 writes beside the files of a bag. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = "metadata.yaml"
RECORD = "rosbag2"  # the metadata record of an MCAP file that holds the same text ...
RECORD_KEY = "serialized_metadata"  # ... under this key
VERSION = 8  # custom_data came with 6; up to 8 Humble reads the QoS profiles
QOS_KEY = "offered_qos_profiles"
TYPE_HASH_KEY = "topic_type_hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTopic:
    """A topic of a bag.

    Args:
        name: The full name.
        type: The message type, such as ``sensor_msgs/msg/Image``.
        definition: The message definition with those that it contains; empty if not found.
        qos_profiles: What the publishers offer, as rosbag2 writes it; empty if not known.
        type_hash: The hash of the message type (REP-2011); empty where ROS does not tell it.
    """

    name: str
    type: str
    definition: str = ""
    qos_profiles: str = ""
    type_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagMetadata:
    """What metadata.yaml says of a bag of one MCAP file.

    Args:
        file: Name of the MCAP file, within the bag's folder.
        topics: The topics.
        counts: Messages by topic.
        start_ns: Earliest time at which a message was received, ns; 0 without messages.
        end_ns: The latest one, ns.
        custom_data: Entries of whoever made the bag.
        ros_distro: Name of the ROS distribution; empty if not known.
    """

    file: str
    topics: Sequence[BagTopic]
    counts: Mapping[str, int]
    start_ns: int
    end_ns: int
    custom_data: Mapping[str, str]
    ros_distro: str

    def as_record(self) -> str:
        """The text in the metadata record of the MCAP file."""
        return _dump(self._content())

    def as_file(self) -> str:
        """The text of metadata.yaml."""
        return _dump({"rosbag2_bagfile_information": self._content()})

    def _content(self) -> dict[str, Any]:
        start = {"nanoseconds_since_epoch": self.start_ns}
        duration = {"nanoseconds": self.end_ns - self.start_ns}
        count = sum(self.counts.values())
        return {
            "version": VERSION,
            "storage_identifier": "mcap",
            "duration": duration,
            "starting_time": start,
            "message_count": count,
            "topics_with_message_count": [self._topic(topic) for topic in self.topics],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self.file],
            "files": [
                {
                    "path": self.file,
                    "starting_time": start,
                    "duration": duration,
                    "message_count": count,
                }
            ],
            "custom_data": dict(self.custom_data),
            "ros_distro": self.ros_distro,
        }

    def _topic(self, topic: BagTopic) -> dict[str, Any]:
        return {
            "topic_metadata": {
                "name": topic.name,
                "type": topic.type,
                "serialization_format": "cdr",
                "offered_qos_profiles": topic.qos_profiles,
                "type_description_hash": topic.type_hash,
            },
            "message_count": self.counts.get(topic.name, 0),
        }


def custom_data_of(bag: Path) -> dict[str, str]:
    """Read the custom data of a bag from its metadata.yaml.

    Args:
        bag: The folder of the bag.

    Raises:
        OSError: There is no metadata.yaml, or it cannot be read.
        ValueError: It is not what rosbag2 writes.
    """
    return dict(_information(bag).get("custom_data") or {})


def replace_custom_data(bag: Path, entries: Mapping[str, str]) -> None:
    """Set entries of the custom data in the metadata.yaml of a bag; the others stay.

    Raises:
        OSError: It cannot be read or written; the old one is left.
        ValueError: It is not what rosbag2 writes.
    """
    information = _information(bag)
    information["custom_data"] = {**(information.get("custom_data") or {}), **entries}
    write_synced(bag / FILE, _dump({"rosbag2_bagfile_information": information}))


def write_synced(path: Path, text: str) -> None:
    """Write a file so that either the old or the new content is there after a crash.

    Raises:
        OSError: It cannot be written; the old content is left.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _information(bag: Path) -> dict[str, Any]:
    path = bag / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        information = content["rosbag2_bagfile_information"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not the metadata of a bag: {error!r}") from None
    if not isinstance(information, dict):
        raise ValueError(f"{path} is not the metadata of a bag")
    return information


def _dump(content: Mapping[str, Any]) -> str:
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes every value out: rosbag2's reader knows anchors, people reading the file do not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
