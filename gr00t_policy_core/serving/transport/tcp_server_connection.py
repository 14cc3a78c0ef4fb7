# SPDX-License-Identifier: Apache-2.0
"""A client's connection at the server: a thread that reads requests; replies from any thread."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.transport import zmtp
from gr00t_policy_core.serving.transport.base import (
    MAX_FRAMES,
    OnMessage,
    Sender,
    make_message,
)
from gr00t_policy_core.serving.transport.memory_budget import (
    UNAUTHENTICATED_MESSAGE_BYTES,
    MemoryBudget,
)
from gr00t_policy_core.serving.transport.tcp_reply_writer import ReplyWriter

logger = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
# A client that pauses for this long within a message, or while it reads a reply, is disconnected.
STALLED_S = 60.0
MAX_COUNTED_FRAMES = 1024  # of a message; one with more is not even answered with an error
# Frames that belong to no request are read slowly: a client that sends nothing else would keep
# Python's lock from the others (measured, a flood of commands: their replies took 300 ms, not 1).
TOLERATED_FRAMES = 16
FLOOD_PAUSE_S = 0.001
MAX_RATE_PAUSE_S = 60.0  # before the rate limit is looked at again
_BUFFER_BYTES = 4096
# How much of a large message must have arrived before the kernel wakes the thread: a thread that
# wakes at each packet gets in the sender's way (measured on loopback, bare round trips of 1.8 MB:
# 0.34 ms instead of 0.55 for a message that is sent at once, as libzmq does; for one in the
# portions of our client 0.34 instead of 0.35).
WAKE_BYTES = 128 * 2**10
# Acknowledge each packet of a large message at once, not the last ones together with the reply,
# which would have to wait for that work (measured: 0.01 ms of our client's 0.72, 0.02 of a stock
# client's 1.10). The kernel resets the option, so it is set for each message (tcp(7)).
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_CLIENT_SOCKET_TYPES: Final = (b"REQ", b"DEALER", b"ROUTER")
_WAIT_FOR_ALL = int(socket.MSG_WAITALL)
_EMPTY: Final = memoryview(b"")


class Activity(NamedTuple):
    """What a connection has been doing, which decides the eviction order when the server is full.

    Args:
        has_shaken_hands: Whether the ZMTP handshake is complete, so that replies can be sent.
        is_busy: It is sending a message or waits for a reply.
        last_message_s: When its last message arrived, or it connected, in `time.monotonic`.
    """

    has_shaken_hands: bool
    is_busy: bool
    last_message_s: float


class ServerConnection:
    """A client's connection, from its handshake to its end.

    Each has a thread, which waits for all of a large message in one call: so the kernel fills its
    memory while Python's lock is free for the policy.

    Args:
        accepted: The client's socket, which this object owns from now on.
        name: The first frame of its messages' routes.
        peer: The network address of the client, for logs and errors.
        sender: The state of the connection that its messages refer to.
        max_message_bytes: A client that announces a larger frame is disconnected; a message whose
            frames are larger together is refused.
        receive_budget: Limits the messages that all connections are receiving.
        reply_budget: Limits the replies that clients have not read yet.
        on_message: Called with each message, in this connection's thread; must neither raise nor
            block.
        on_end: Called when the connection has ended, with the client's error; None if the client
            just disconnected.
    """

    def __init__(
        self,
        accepted: socket.socket,
        name: bytes,
        peer: str,
        sender: Sender,
        *,
        max_message_bytes: int,
        receive_budget: MemoryBudget,
        reply_budget: MemoryBudget,
        on_message: OnMessage,
        on_end: Callable[[ServerConnection, Exception | None], None],
    ) -> None:
        self.name = name
        self.peer = peer
        self.sender = sender
        self._socket = accepted
        self._max_message_bytes = max_message_bytes
        self._receive_budget = receive_budget
        self._on_message = on_message
        self._on_end = on_end
        self._frames = zmtp.FrameReader(self._receive, _BUFFER_BYTES)
        self._replies = ReplyWriter(accepted, peer, sender, reply_budget, self._evict)
        self._is_within_message = False
        self._handshake_ends_s: float | None = time.monotonic() + HANDSHAKE_S
        self._last_message_s = time.monotonic()
        self._requests = 0
        self._useless_frames = 0  # since the last message
        self._eviction: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"gr00t-client-{peer}", daemon=True)

    @property
    def activity(self) -> Activity:
        """What the connection is doing; see `Activity`."""
        is_busy = self._is_within_message or self._requests > self._replies.replies
        return Activity(self._handshake_ends_s is None, is_busy, self._last_message_s)

    def start(self) -> None:
        """Start to read, in a thread of the connection's own.

        Raises:
            RuntimeError: The system has no more threads.
        """
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the connection has ended."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """Send a reply without waiting for the client; in any thread.

        Args:
            route: The frames before the reply, without this connection's name.
            reply: Its bytes.
        """
        routing = b"".join([zmtp.frame_header(len(f), zmtp.MORE) + f for f in route])
        self._replies.write_reply(b"".join([routing, zmtp.frame_header(len(reply)), reply]))

    def end(self, *, at_once: bool = False) -> None:
        """Disconnect; in any thread.

        Args:
            at_once: Do not wait for a message that is being received or for queued replies.
        """
        self._replies.shut_down(socket.SHUT_RDWR if at_once else socket.SHUT_RD)

    def _run(self) -> None:
        problem: Exception | None = None
        try:
            self._shake_hands()
            while True:
                self._limit_rate()
                self._read_message()
        except (EOFError, OSError) as error:
            problem = self._eviction
            logger.debug("%s has disconnected: %s", self.peer, error)
        except Exception as error:
            problem = error
        finally:
            self.sender.disconnected = True
            self._receive_budget.release(self.sender)
            self._replies.close()
            self._on_end(self, problem)

    def _shake_hands(self) -> None:
        _set_timeouts(self._socket, HANDSHAKE_S, STALLED_S)
        # In two parts: a client that wants encryption would disconnect before it says so.
        self._replies.write(zmtp.GREETING[: zmtp.VERSION_ENDS])
        if self._frames.greeting() != zmtp.NULL:
            raise ProtocolError("the client wants encryption, and this server has no keys")
        self._replies.write(zmtp.GREETING[zmtp.VERSION_ENDS :] + zmtp.ready(b"ROUTER"))
        flags, size = self._frames.frame_header()
        content = self._frames.command(size) if flags & zmtp.COMMAND else b""
        if not content.startswith(zmtp.READY):
            raise ProtocolError("the client does not complete its handshake")
        socket_type = zmtp.socket_type(content)
        if socket_type not in _CLIENT_SOCKET_TYPES:
            reason = b"REQ, DEALER or ROUTER expected"
            self._replies.write(zmtp.command(zmtp.ERROR + bytes([len(reason)]) + reason))
            raise ProtocolError(f"its socket is a {socket_type!r}, which sends no requests")
        self._handshake_ends_s = None
        _set_timeouts(self._socket, STALLED_S, STALLED_S)

    def _evict(self, why: str) -> None:
        """Disconnect a client that uses too much memory; in any thread."""
        self._eviction = ProtocolError(f"disconnected: {why}")
        self.end(at_once=True)

    def _limit_rate(self) -> None:
        """Leave the next message unread if the earlier ones cost too much."""
        while pause_s := min(self.sender.rate_limiter.pause_s, MAX_RATE_PAUSE_S):
            if self._replies.ending.wait(pause_s):
                return
            logger.debug("%s was paused for %.3f s by its rate limit", self.peer, pause_s)

    def _read_message(self) -> None:
        is_unauthenticated = self._receive_budget.is_unauthenticated(self.sender)
        max_bytes = self._max_message_bytes
        if is_unauthenticated:
            max_bytes = min(max_bytes, UNAUTHENTICATED_MESSAGE_BYTES)
        frames: list[memoryview] = []
        size = count = 0
        more = 1
        while more:
            flags, length = self._frames.frame_header()
            self._is_within_message = True
            if flags & zmtp.COMMAND:
                self._handle_command(self._frames.command(length))
                self._is_within_message = bool(frames) or self._frames.has_bytes
                continue
            more = flags & zmtp.MORE
            size += length
            count += 1
            if length > max_bytes:
                until = " before a request with the right token" if is_unauthenticated else ""
                raise ProtocolError(f"{length} bytes announced, the limit is {max_bytes}{until}")
            if count > MAX_COUNTED_FRAMES:
                raise ProtocolError(f"a message of over {MAX_COUNTED_FRAMES} frames")
            if len(frames) < MAX_FRAMES and size <= max_bytes:
                frames.append(self._read_frame(length) if length else _EMPTY)
            else:
                self._frames.skip(length)
                self._slow_down_a_flood()
        self._is_within_message = self._frames.has_bytes
        self._useless_frames = 0
        self._last_message_s = time.monotonic()
        message = make_message(
            self.name, frames, size, self.peer, max_bytes=max_bytes, sender=self.sender
        )
        if message is not None:
            self._requests += 1
            self._on_message(message)
        if size > _BUFFER_BYTES:
            self._receive_budget.release(self.sender)

    def _read_frame(self, length: int) -> memoryview:
        if length > _BUFFER_BYTES:  # shorter ones do not hold memory for long
            self._receive_budget.reserve(self.sender, length, self._evict)
        return self._frames.take(length)

    def _handle_command(self, content: bytes) -> None:
        if content.startswith(zmtp.PING):
            self._replies.write(zmtp.pong(content))
        self._slow_down_a_flood()

    def _slow_down_a_flood(self) -> None:
        """Leave Python's lock to other threads from time to time."""
        self._useless_frames += 1
        if self._useless_frames % TOLERATED_FRAMES == 0:
            time.sleep(FLOOD_PAUSE_S)

    def _receive(self, buffer: memoryview, wait_for_all: bool) -> int:
        if not wait_for_all:
            return self._receive_into(buffer, 0)
        if len(buffer) < 2 * WAKE_BYTES or self._socket.family == socket.AF_UNIX:
            return self._receive_into(buffer, _WAIT_FOR_ALL)
        if _QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        # WAKE_BYTES are left for the next call: the kernel would not wake the thread for less.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
        try:
            return self._receive_into(buffer[:-WAKE_BYTES], _WAIT_FOR_ALL)
        finally:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _receive_into(self, buffer: memoryview, flags: int) -> int:
        while True:
            try:
                received = self._socket.recv_into(buffer, 0, flags)
            except BlockingIOError:  # the socket's own timeout
                if self._is_within_message or self._handshake_ends_s is not None:
                    raise TimeoutError("it paused for too long within a message") from None
                continue
            if not received:
                raise EOFError("it closed the connection")
            ends_s = self._handshake_ends_s
            if ends_s is not None and time.monotonic() > ends_s:
                raise TimeoutError("its handshake takes too long")
            return received


def _set_timeouts(connected: socket.socket, receive_s: float, send_s: float) -> None:
    """Limit how long a call waits, by socket options: Python's own timeouts poll before a call."""
    for option, time_s in ((socket.SO_RCVTIMEO, receive_s), (socket.SO_SNDTIMEO, send_s)):
        timeval_bytes = len(connected.getsockopt(socket.SOL_SOCKET, option, 16))
        whole_s, fraction_s = divmod(time_s, 1)
        layout = "qq" if timeval_bytes == 16 else "ii"  # 32-bit systems have either
        timeval = struct.pack(layout, int(whole_s), int(fraction_s * 1e6))
        connected.setsockopt(socket.SOL_SOCKET, option, timeval)
