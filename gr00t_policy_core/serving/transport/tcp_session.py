# SPDX-License-Identifier: Apache-2.0
"""One client's connection at the server: a thread that reads, and replies from any thread."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving.transport import zmtp
from gr00t_policy_core.serving.transport.base import (
    LINGER_S,
    MAX_FRAMES,
    Deliver,
    Sender,
    make_message,
)
from gr00t_policy_core.serving.transport.receive_budget import UNPROVEN_BYTES, Intake

logger = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
# A client that sends nothing more of a message, or takes nothing of a reply, for so long is gone.
STALLED_S = 60.0
MAX_WAITING_REPLIES = 64  # of a client that does not read
MAX_COUNTED_FRAMES = 1024  # of a message: one of more is not even refused
# What is no request is read slowly: who sends nothing else would keep Python's lock from the others
# (measured, a flood of commands: their answers took 300 ms in place of 1).
TOLERATED_FRAMES = 16
PAUSE_S = 0.001
MAX_PAUSE_S = 60.0  # before it is looked at anew who has to pause
_BUFFER_BYTES = 4096
# Of a large message, what has to be there before the kernel wakes its thread: one that wakes at
# each packet is in the sender's way (measured on loopback, bare round trips of 1.8 MB: sent at
# once, as libzmq does, 0.34 ms in place of 0.55; in the portions of our client 0.34, not 0.35).
WAKE_BYTES = 128 * 2**10
# Of a large message each packet is acknowledged at once, not all of the last ones with the reply,
# which would have to wait for that work (measured: 0.01 ms of our client's 0.72, 0.02 of a stock
# one's 1.10). tcp(7): it does not last, and is asked for again at each message.
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_ASKING: Final = (b"REQ", b"DEALER", b"ROUTER")  # types of sockets that send requests
_NOW = int(socket.MSG_DONTWAIT)
_WHOLE = int(socket.MSG_WAITALL)
_EMPTY: Final = memoryview(b"")


class Session:
    """A client's connection, from its handshake to its end.

    The kernel fills the memory of a large message while Python's lock is free for the policy:
    that is why each has a thread, which waits in one call for all of it.

    Args:
        accepted: Its socket, which belongs to the session from now on.
        name: The first frame of its messages' routes.
        peer: Its network address.
        sender: The connection, as what waits for its answers knows it.
        max_message_bytes: A client that announces a larger frame is disconnected; a message whose
            frames are larger together is refused.
        intake: Holds the budget of what all sessions receive.
        backlog: Likewise, of replies that wait for clients that do not read them.
        deliver: Gets its messages, in this session's thread; it must neither raise nor wait.
        ended: Called when it has ended, with what was wrong with the client; None: it is gone.
    """

    def __init__(
        self,
        accepted: socket.socket,
        name: bytes,
        peer: str,
        sender: Sender,
        *,
        max_message_bytes: int,
        intake: Intake,
        backlog: Intake,
        deliver: Deliver,
        ended: Callable[[Session, Exception | None], None],
    ) -> None:
        self.name = name
        self.peer = peer
        self.sender = sender
        self._socket = accepted
        self._limit = max_message_bytes
        self._intake = intake
        self._backlog = backlog
        self._deliver = deliver
        self._ended = ended
        self._frames = zmtp.FrameReader(self._receive, _BUFFER_BYTES)
        self._begun = False  # a message has, and the rest of it is waited for
        self._handshake_ends_s: float | None = time.monotonic() + HANDSHAKE_S
        self._sending = threading.Lock()  # whose holder may write, and close
        self._unsent: deque[memoryview] = deque()
        self._sender: threading.Thread | None = None
        self._closed = False
        self._heard_s = time.monotonic()  # when its last message came, or it
        self._delivered = self._answered = 0  # messages
        self._useless = 0  # frames since its last message that are no part of one
        self._ending = threading.Event()
        self._made_to_end: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"gr00t-client-{peer}", daemon=True)

    @property
    def standing(self) -> tuple[bool, bool, float]:
        """Who has the least of it may best be disconnected.

        Has it shaken hands; is it sending something or waiting for an answer; when its last message
        came, in `time.monotonic`.
        """
        busy = self._begun or self._delivered > self._answered
        return self._handshake_ends_s is None, busy, self._heard_s

    def start(self) -> None:
        """Begin to read, in a thread of its own.

        Raises:
            RuntimeError: There are no more threads.
        """
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """Send a reply without waiting; in any thread.

        Where the client has not read those before it, it waits for that; of more than
        `MAX_WAITING_REPLIES` the new one is dropped.

        Args:
            route: The frames before it, without this session's name.
            reply: Its bytes.
        """
        heads = [zmtp.head(len(part), zmtp.MORE) + part for part in route]
        with self._sending:
            self._answered += 1  # before its client can see the reply, and another one must go
        self._write(b"".join([*heads, zmtp.head(len(reply)), reply]))

    def end(self, *, at_once: bool = False) -> None:
        """Disconnect; in any thread.

        Args:
            at_once: Also where it is receiving something, or where replies wait for the client.
        """
        self._ending.set()
        with self._sending:  # so that it is not closed meanwhile, and another has its descriptor
            _shut_down(self._socket, socket.SHUT_RDWR if at_once else socket.SHUT_RD)

    def _run(self) -> None:
        problem: Exception | None = None
        try:
            self._shake_hands()
            while True:
                self._pause()
                self._read_message()
        except (EOFError, OSError) as error:
            problem = self._made_to_end
            logger.debug("%s is gone: %s", self.peer, error)
        except Exception as error:
            problem = error
        finally:
            self.sender.gone = True
            self._intake.end(self.sender)
            self._close()
            self._backlog.end(self.sender)
            self._ended(self, problem)

    def _shake_hands(self) -> None:
        _set_timeouts(self._socket, HANDSHAKE_S, STALLED_S)
        # Not all at once: a client that wants encryption would go before it says so.
        self._write(zmtp.GREETING[: zmtp.VERSION_ENDS])
        if self._frames.greeting() != zmtp.NULL:
            raise ProtocolError("it wants encryption, and this server has no keys")
        self._write(zmtp.GREETING[zmtp.VERSION_ENDS :] + zmtp.ready(b"ROUTER"))
        flags, size = self._frames.head()
        content = self._frames.command(size) if flags & zmtp.COMMAND else b""
        if not content.startswith(zmtp.READY):
            raise ProtocolError("it does not end its handshake")
        asking = zmtp.socket_type(content)
        if asking not in _ASKING:
            reason = b"REQ, DEALER or ROUTER expected"
            self._write(zmtp.command(zmtp.ERROR + bytes([len(reason)]) + reason))
            raise ProtocolError(f"its socket is a {asking!r}, which asks for nothing")
        self._handshake_ends_s = None
        _set_timeouts(self._socket, STALLED_S, STALLED_S)

    def _make_way(self, why: str) -> None:
        """Disconnect a client that takes too much; in any thread."""
        self._made_to_end = ProtocolError(f"disconnected: {why}")
        self.end(at_once=True)

    def _pause(self) -> None:
        """Leave the next message unread where those before it cost too much."""
        while pause_s := min(self.sender.cost.pause_s, MAX_PAUSE_S):
            if self._ending.wait(pause_s):
                return
            logger.debug("%s had to pause for %.3f s", self.peer, pause_s)

    def _read_message(self) -> None:
        unproven = self._intake.is_unproven(self.sender)
        limit = min(self._limit, UNPROVEN_BYTES) if unproven else self._limit
        frames: list[memoryview] = []
        size = count = 0
        more = 1
        while more:
            flags, length = self._frames.head()
            self._begun = True
            if flags & zmtp.COMMAND:
                self._obey(self._frames.command(length))
                self._begun = bool(frames) or self._frames.has_bytes
                self._tolerate()
                continue
            more = flags & zmtp.MORE
            size += length
            count += 1
            if length > limit:
                before = " before a request with the right token" if unproven else ""
                raise ProtocolError(f"{length} bytes announced, at most {limit} may come{before}")
            if count > MAX_COUNTED_FRAMES:
                raise ProtocolError(f"a message of over {MAX_COUNTED_FRAMES} frames")
            if len(frames) < MAX_FRAMES and size <= limit:
                frames.append(self._take(length) if length else _EMPTY)
            else:
                self._frames.skip(length)
                self._tolerate()
        self._begun = self._frames.has_bytes
        self._useless = 0
        self._heard_s = time.monotonic()
        message = make_message(self.name, frames, size, self.peer, limit=limit, sender=self.sender)
        if message is not None:
            self._delivered += 1
            self._deliver(message)
        if size > _BUFFER_BYTES:
            self._intake.end(self.sender)

    def _take(self, length: int) -> memoryview:
        if length > _BUFFER_BYTES:  # the others have no memory of their own for long
            self._intake.begin(self.sender, length, self._make_way)
        return self._frames.take(length)

    def _tolerate(self) -> None:
        """Leave Python to the others from time to time."""
        self._useless += 1
        if self._useless % TOLERATED_FRAMES == 0:
            time.sleep(PAUSE_S)

    def _obey(self, content: bytes) -> None:
        if content.startswith(zmtp.PING):
            self._write(zmtp.pong(content))

    def _receive(self, room: memoryview, whole: bool) -> int:
        if not whole:
            return self._receive_into(room, 0)
        if len(room) < 2 * WAKE_BYTES or self._socket.family == socket.AF_UNIX:
            return self._receive_into(room, _WHOLE)
        if _QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        # As many bytes must still be to come behind these, or it would not be woken for the last.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
        try:
            return self._receive_into(room[:-WAKE_BYTES], _WHOLE)
        finally:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _receive_into(self, room: memoryview, how: int) -> int:
        while True:
            try:
                received = self._socket.recv_into(room, 0, how)
            except BlockingIOError:  # the time that the socket waits at most
                if self._begun or self._handshake_ends_s is not None:
                    raise TimeoutError("it sent nothing more of what it began") from None
                continue
            if not received:
                raise EOFError("it closed the connection")
            ends_s = self._handshake_ends_s
            if ends_s is not None and time.monotonic() > ends_s:
                raise TimeoutError("its handshake takes too long")
            return received

    def _write(self, data: bytes) -> None:
        kept = self._write_or_keep(data)
        if kept:  # counted without the lock, since another session may have to go for it
            self._backlog.begin(self.sender, kept, self._make_way)
            with self._sending:
                if not self._unsent:  # it went out meanwhile
                    self._backlog.end(self.sender)

    def _write_or_keep(self, data: bytes) -> int:
        """Send what the client takes at once; returns how many bytes have to wait."""
        with self._sending:
            if self._closed:
                return 0
            if self._unsent:
                return self._keep(data)
            try:
                sent = self._socket.send(data, _NOW)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                logger.debug("a reply to %s could not be sent: %s", self.peer, error)
                return 0
            if sent < len(data):
                self._unsent.append(memoryview(data)[sent:])
                self._begin_sending()
            return len(data) - sent

    def _keep(self, data: bytes) -> int:
        if len(self._unsent) >= MAX_WAITING_REPLIES:
            logger.debug("%s does not read its replies; one is dropped", self.peer)
            return 0
        self._unsent.append(memoryview(data))
        return len(data)

    def _begin_sending(self) -> None:
        sender = threading.Thread(target=self._send_rest, name="gr00t-sender", daemon=True)
        try:
            sender.start()
        except RuntimeError as error:  # no more threads; half a reply cannot be taken back
            logger.warning("%s is disconnected, its reply cannot be sent: %s", self.peer, error)
            self._unsent.clear()
            self._closed = True
            _shut_down(self._socket, socket.SHUT_RDWR)
        else:
            self._sender = sender

    def _send_rest(self) -> None:
        """In a thread of its own while the client is slow: send what waits for it."""
        while True:
            try:
                self._socket.sendall(self._unsent[0])
            except OSError as error:
                logger.debug("%s does not read its replies: %s", self.peer, error)
                self.end(at_once=True)
                return
            with self._sending:
                self._unsent.popleft()
                if not self._unsent:
                    self._sender = None
                    self._backlog.end(self.sender)
                    return

    def _close(self) -> None:
        with self._sending:
            self._closed = True
            sender = self._sender
        if sender is not None:
            sender.join(LINGER_S)
        _shut_down(self._socket, socket.SHUT_RDWR)
        if sender is not None:
            sender.join()
        with self._sending:
            self._socket.close()
        self._unsent.clear()


def _shut_down(connected: socket.socket, how: int) -> None:
    try:
        connected.shutdown(how)
    except OSError as error:
        logger.debug("ended already: %s", error)


def _set_timeouts(connected: socket.socket, receive_s: float, send_s: float) -> None:
    """How long a call waits for anything; by the kernel, since Python's own way is to poll."""
    for option, time_s in ((socket.SO_RCVTIMEO, receive_s), (socket.SO_SNDTIMEO, send_s)):
        timeval_bytes = len(connected.getsockopt(socket.SOL_SOCKET, option, 16))
        whole_s, rest_s = divmod(time_s, 1)
        layout = "qq" if timeval_bytes == 16 else "ii"  # some systems of 32 bits have either
        timeval = struct.pack(layout, int(whole_s), int(rest_s * 1e6))
        connected.setsockopt(socket.SOL_SOCKET, option, timeval)
