# SPDX-License-Identifier: Apache-2.0
"""Reads one SQLite file of a bag, the storage of ROS 2 before Iron."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from gr00t_ros.bags.bag_file import BagError, BagMessage


class SqliteFile:
    """A ``.db3`` file, see `BagFile`.

    Raises:
        BagError: It is not a bag, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.custom_data: dict[str, str] = {}
        self.truncated = ""
        try:
            with closing(self._open()) as database:
                rows = database.execute("SELECT id, name, type FROM topics").fetchall()
                times = database.execute("SELECT min(timestamp), max(timestamp) FROM messages")
                first_ns, last_ns = times.fetchone()
        except sqlite3.Error as error:
            raise BagError(f"{path}: cannot be read as a bag: {error}") from error
        self._names = {int(number): str(name) for number, name, _ in rows}
        self.topics = {str(name): str(kind) for _, name, kind in rows}
        self.duration_s = ((last_ns or 0) - (first_ns or 0)) * 1e-9

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order in which they were written."""
        wanted = [number for number, name in self._names.items() if name in topics]
        marks = ", ".join("?" * len(wanted))
        columns = "topic_id, timestamp, data"
        query = f"SELECT {columns} FROM messages WHERE topic_id IN ({marks}) ORDER BY id"
        try:
            with closing(self._open()) as database:
                for number, received_ns, data in database.execute(query, wanted):
                    yield BagMessage(self._names[number], bytes(data), int(received_ns))
        except sqlite3.Error as error:
            self.truncated = f"{self._path.name} is damaged: {error}"

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True)
