# SPDX-License-Identifier: Apache-2.0
"""The thread that writes one episode to the disk. Pure."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from gr00t_ros.bags.bag_metadata import BagTopic
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.bags.writer import BagWriter
from gr00t_ros.record.message_queue import MessageQueue, ReceivedMessage

FLUSH_PERIOD_S = 0.5  # what a killed recorder loses at most


class EpisodeWriter:
    """Writes one episode in a thread of its own.

    Once writing fails the messages that follow are rejected, and the caller ends the episode.

    Args:
        bag: Where the episode is written.
        folder: The folder on whose disk it lies.
        queue_bytes: Messages that may wait for the disk.
        min_free_bytes: Writing fails when less is free on the disk.

    Attributes:
        saved: The folder of the episode once it is on the disk, None where it was discarded, or the
            exception that left it unfinished.
    """

    def __init__(
        self, bag: BagWriter, folder: Path, *, queue_bytes: int, min_free_bytes: int
    ) -> None:
        self._bag = bag
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._queue = MessageQueue(queue_bytes)
        self._final: EpisodeInfo | None = None
        self._failure = ""
        self._flushed_s = time.monotonic()
        self.saved: Future[Path | None] = Future()
        self._thread = threading.Thread(target=self._run, name="episode writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """Why nothing more is written; empty while all is well."""
        return self._failure

    @property
    def size(self) -> int:
        """The bytes on the disk."""
        return self._bag.size

    @property
    def queued_bytes(self) -> int:
        """The messages that wait for the disk."""
        return self._queue.bytes

    def put(
        self, topic: BagTopic, data: bytes, received_ns: int, published_ns: int, sequence: int
    ) -> bool:
        """Write a message soon, and return whether there was room for it."""
        message = ReceivedMessage(topic, data, received_ns, published_ns, sequence)
        return not self._failure and self._queue.put(message)

    def end(self, info: EpisodeInfo) -> None:
        """Write what waits and save the episode; `saved` tells when that is done."""
        self._final = info
        self._queue.close()

    def discard(self) -> None:
        """Remove the episode; `saved` tells when that is done."""
        self._queue.close()

    def join(self, timeout_s: float) -> bool:
        """Wait until the episode is on the disk, and return whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # whatever it is, the operator must hear of it
            self._failure = f"writing failed: {getattr(error, 'strerror', None) or error}"
            while self._queue.take(FLUSH_PERIOD_S) or not self._queue.is_closed:
                pass  # what still comes is not written
        try:
            self.saved.set_result(self._conclude())
        except Exception as error:
            self._bag.abandon()
            self.saved.set_exception(error)

    def _write(self) -> None:
        while True:
            is_closed = self._queue.is_closed
            messages = self._queue.take(FLUSH_PERIOD_S)
            for topic, data, received_ns, published_ns, sequence in messages:
                self._bag.add_topic(topic)
                self._bag.write(
                    topic.name,
                    data,
                    received_ns=received_ns,
                    published_ns=published_ns,
                    sequence=sequence,
                )
            if time.monotonic() - self._flushed_s >= FLUSH_PERIOD_S:
                self._flush()
            if is_closed and not messages:
                return

    def _flush(self) -> None:
        self._flushed_s = time.monotonic()
        self._bag.flush()
        free = shutil.disk_usage(self._folder).free
        if free < self._min_free_bytes:
            raise OSError(
                f"{free / 1e6:.0f} MB are free in {self._folder}, "
                f"record.min_free_mb is {self._min_free_bytes / 1e6:g}"
            )

    def _conclude(self) -> Path | None:
        if self._final is None:
            self._bag.discard()
            return None
        return self._bag.finish(self._final)
