# SPDX-License-Identifier: Apache-2.0
"""Received messages on their way to the thread that writes them. Pure."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from gr00t_ros.bags.bag_metadata import BagTopic

TAKE_BYTES = 4_000_000  # in the hands of the writing thread, beside what waits


class ReceivedMessage(NamedTuple):
    """A serialized message as it was received; stamps in ns. A tuple, made 2000 times a second."""

    topic: BagTopic
    data: bytes
    received_ns: int
    published_ns: int
    sequence: int


class MessageQueue:
    """Holds messages up to a number of bytes; safe between threads.

    Args:
        max_bytes: What may wait at most. A message that does not fit is rejected, not an older one:
            what is written has no gap where it cannot be seen.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()

    @property
    def bytes(self) -> int:
        """What waits now."""
        return self._bytes

    @property
    def is_closed(self) -> bool:
        """Whether no more messages are accepted."""
        return self._is_closed

    def put(self, message: ReceivedMessage) -> bool:
        """Add a message, and return whether there was room for it."""
        with self._changed:
            if self._is_closed or self._bytes + len(message.data) > self._max_bytes:
                return False
            self._messages.append(message)
            self._bytes += len(message.data)
            if len(self._messages) == 1:
                self._changed.notify()
        return True

    def take(self, timeout_s: float) -> list[ReceivedMessage]:
        """Take the oldest messages, waiting for the first one.

        Returns:
            Messages of about `TAKE_BYTES`; none when the time is over, or at the end.
        """
        taken: list[ReceivedMessage] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._is_closed, timeout_s)
            while self._messages and size < TAKE_BYTES:
                taken.append(self._messages.popleft())
                size += len(taken[-1].data)
            self._bytes -= size
        return taken

    def close(self) -> None:
        """Accept no more messages; those that wait can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
