# SPDX-License-Identifier: Apache-2.0
"""Reads one MCAP file of a bag by rosbag2_py, where the `mcap` library is not installed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import rosbag2_py

from gr00t_ros.bags.bag_file import BagError, BagMessage


class Rosbag2File:
    """A file that rosbag2 reads, see `BagFile`.

    Raises:
        BagError: rosbag2 cannot read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.truncated = ""
        reader = self._open()
        self.topics = {topic.name: topic.type for topic in reader.get_all_topics_and_types()}
        metadata = reader.get_metadata()
        self.custom_data = dict(getattr(metadata, "custom_data", None) or {})
        self.duration_s = metadata.duration.nanoseconds * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order in which they were written."""
        reader = self._open()
        reader.set_filter(rosbag2_py.StorageFilter(topics=list(topics)))
        if hasattr(reader, "set_read_order"):  # since Iron
            by_file = rosbag2_py.ReadOrderSortBy.File
            reader.set_read_order(rosbag2_py.ReadOrder(by_file, False))
        while reader.has_next():
            topic, data, received_ns, *_ = reader.read_next()
            yield BagMessage(topic, data, received_ns)

    def _open(self) -> rosbag2_py.SequentialReader:
        reader = rosbag2_py.SequentialReader()
        storage = rosbag2_py.StorageOptions(uri=str(self._path), storage_id="mcap")
        try:
            reader.open(storage, rosbag2_py.ConverterOptions("", ""))
        except RuntimeError as error:
            raise BagError(f"{self._path}: cannot be read as a bag: {error}") from error
        return reader
