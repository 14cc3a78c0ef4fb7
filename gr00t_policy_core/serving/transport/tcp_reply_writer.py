# SPDX-License-Identifier: Apache-2.0
"""Writing to a client that may be slow: no thread that sends a reply waits for the client."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable

from gr00t_policy_core.serving.transport.base import LINGER_S, Sender
from gr00t_policy_core.serving.transport.memory_budget import MemoryBudget

logger = logging.getLogger(__name__)

MAX_QUEUED_REPLIES = 64  # for a client that does not read; further ones are dropped
_DONT_WAIT = int(socket.MSG_DONTWAIT)


class ReplyWriter:
    """Writes to one client's socket, from any thread.

    What the client does not read at once is queued, and a thread of its own writes the queue.

    Args:
        connected: The client's socket; `close` closes it.
        peer: The client's network address, for the log.
        sender: The connection, for the budget.
        budget: Limits the queued replies of all clients.
        disconnect: Ends the connection where the budget needs its memory; given the reason.
    """

    def __init__(
        self,
        connected: socket.socket,
        peer: str,
        sender: Sender,
        budget: MemoryBudget,
        disconnect: Callable[[str], None],
    ) -> None:
        self.ending = threading.Event()  # set by `shut_down`
        self._socket = connected
        self._peer = peer
        self._sender = sender
        self._budget = budget
        self._disconnect = disconnect
        self._lock = threading.Lock()  # whoever holds it may write to the socket, and close it
        self._queue: deque[memoryview] = deque()
        self._thread: threading.Thread | None = None  # while there is a queue
        self._is_closed = False
        self._replies = 0

    @property
    def replies(self) -> int:
        """How many replies were sent, queued or dropped."""
        return self._replies

    def write_reply(self, data: bytes) -> None:
        """Send a reply, or queue it; never waits for the client."""
        # Counted before the client can see the reply, so that its connection does not look busy
        # if another one must be evicted.
        self._write(data, replies=1)

    def write(self, data: bytes) -> None:
        """Send what is not a reply, such as a part of the handshake; never waits."""
        self._write(data, replies=0)

    def shut_down(self, how: int) -> None:
        """Shut down the socket in one or both directions (`socket.SHUT_RD`, `SHUT_RDWR`)."""
        self.ending.set()
        with self._lock:  # or the socket could be closed and its descriptor reused meanwhile
            _shut_down(self._socket, how)

    def close(self) -> None:
        """Give queued replies `LINGER_S`, then close the socket."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.join(LINGER_S)
        _shut_down(self._socket, socket.SHUT_RDWR)
        if thread is not None:
            thread.join()
        with self._lock:
            self._socket.close()
        self._queue.clear()
        self._budget.release(self._sender)

    def _write(self, data: bytes, replies: int) -> None:
        queued_bytes = self._send_or_queue(data, replies)
        if queued_bytes:  # reserved without the lock, since that may disconnect other clients
            self._budget.reserve(self._sender, queued_bytes, self._disconnect)
            with self._lock:
                if not self._queue:  # it has been sent in the meantime
                    self._budget.release(self._sender)

    def _send_or_queue(self, data: bytes, replies: int) -> int:
        """Send what the client takes at once; returns how many bytes were queued."""
        with self._lock:
            self._replies += replies
            if self._is_closed:
                return 0
            if self._queue:
                return self._enqueue(data)
            try:
                sent = self._socket.send(data, _DONT_WAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                logger.debug("a reply to %s could not be sent: %s", self._peer, error)
                return 0
            if sent < len(data):
                self._queue.append(memoryview(data)[sent:])
                self._start_thread()
            return len(data) - sent

    def _enqueue(self, data: bytes) -> int:
        if len(self._queue) >= MAX_QUEUED_REPLIES:
            logger.debug("%s does not read its replies; one is dropped", self._peer)
            return 0
        self._queue.append(memoryview(data))
        return len(data)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._send_queue, name="gr00t-sender", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, and half a reply cannot be taken back
            logger.warning("%s is disconnected, its reply cannot be sent: %s", self._peer, error)
            self._queue.clear()
            self._is_closed = True
            _shut_down(self._socket, socket.SHUT_RDWR)
        else:
            self._thread = thread

    def _send_queue(self) -> None:
        while True:
            try:
                self._socket.sendall(self._queue[0])
            except OSError as error:
                logger.debug("%s does not read its replies: %s", self._peer, error)
                self.shut_down(socket.SHUT_RDWR)
                return
            with self._lock:
                self._queue.popleft()
                if not self._queue:
                    self._thread = None
                    self._budget.release(self._sender)
                    return


def _shut_down(connected: socket.socket, how: int) -> None:
    try:
        connected.shutdown(how)
    except OSError as error:
        logger.debug("the connection has ended already: %s", error)
