# SPDX-License-Identifier: Apache-2.0
"""Where a server's messages come from and its replies go: in plain text, or encrypted."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gr00t_policy_core.serving.transport.read_costs import Cost, Costs

logger = logging.getLogger(__name__)

MAX_FRAMES = 16  # of what a client sends at once; no more are kept
MAX_NAME_BYTES = 255  # of a socket, in ZeroMQ
LINGER_S = 1.0  # for replies on their way when a server ends


@dataclass(slots=True, eq=False)
class Sender:
    """A connection that messages came by, as it is now.

    Args:
        address: Of the machine at its other end (`addresses.machine`): what its connections may
            have together is bounded, too.
        cost: What its messages have cost.
        proven: It has sent a request that the server admits (the right token, if there is one).
        gone: It has ended: nobody waits for answers there.
    """

    address: str = ""
    cost: Cost = field(default_factory=lambda: Costs().of(""))
    proven: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What one client sent.

    Args:
        route: The frames that lead a reply back to it; the first is the client's own.
        body: The request; None where `problem` says what came in its place.
        problem: Why there is no body.
        peer: Its client's network address.
        sender: The connection that it came by.
    """

    route: list[bytes]
    body: memoryview | None
    problem: str
    peer: str
    sender: Sender = field(default_factory=Sender)

    @property
    def size(self) -> int:
        """How many bytes the body has."""
        return 0 if self.body is None else self.body.nbytes


Deliver: TypeAlias = Callable[[Message], None]


class Transport(Protocol):
    """A listening socket, which REQ and DEALER clients with any envelope connect to."""

    address: str
    port: int

    def turn(self, timeout_s: float | None, deliver: Deliver) -> None:
        """Wait for something to do or for a `wake`, and do it; for one thread.

        Args:
            timeout_s: How long to wait; None: for as long as it takes.
            deliver: Called with each message, here or in a thread of its client's; it must
                neither raise nor wait.
        """

    def wake(self) -> None:
        """Make `turn` return; safe in any thread and in a signal handler."""

    def woken_by_signals(self) -> contextlib.AbstractContextManager[None]:
        """Within, a signal ends `turn`, so that its Python handler runs."""

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """Send a reply, in any thread; where the client is gone or does not read, it is dropped."""

    def close(self) -> None:
        """Send what is on its way, for `LINGER_S` at most, and close everything."""


class Waker:
    """Wakes a thread that polls `out`."""

    def __init__(self) -> None:
        self._into, self.out = socket.socketpair()
        self._into.setblocking(False)
        self.out.setblocking(False)

    def wake(self) -> None:
        """Make `out` readable; safe in any thread and in a signal handler."""
        try:
            self._into.send(b"\0")
        except BlockingIOError:
            return  # so many wakes wait already that one more changes nothing
        except OSError:
            logger.debug("woken after it was closed")

    def rest(self) -> None:
        """Make `out` unreadable again."""
        with contextlib.suppress(BlockingIOError):
            self.out.recv(4096)

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Within, a signal wakes.

        Without, one that the kernel delivers to another thread, or just before the wait begins,
        is not handled until a message comes. In other threads than the main one it does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self._into.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    def close(self) -> None:
        """Close both ends."""
        self._into.close()
        self.out.close()


Ended: TypeAlias = Callable[[Sender], None]


def make_message(
    client: bytes,
    frames: Sequence[memoryview],
    size: int,
    peer: str,
    *,
    limit: int,
    sender: Sender,
) -> Message | None:
    """A message by its frames, `MAX_FRAMES` at most; None where no reply could be sent.

    Args:
        client: The name that its connection has here.
        frames: As they came.
        size: Of all that came, also of what was not kept.
        peer: The client's network address.
        limit: A larger message is a problem.
        sender: The connection.
    """
    begin = 0
    for index, frame in enumerate(frames):
        if not frame.nbytes:
            begin = index + 1
            break
    route = [client]
    for frame in frames[:begin]:
        if frame.nbytes > MAX_NAME_BYTES:
            # Replies would carry it back, however many wait for one who never reads.
            logger.debug("%s names its way back in too many bytes; it gets no reply", peer)
            return None
        route.append(bytes(frame))
    body = frames[begin:]
    if size > limit:
        problem = f"malformed message: {size} bytes, at most {limit} may come"
    elif len(body) == 1:
        return Message(route, body[0], "", peer, sender)
    elif not body:
        problem = "malformed message: it is empty"
    else:
        or_more = " or more" * (len(frames) >= MAX_FRAMES)
        problem = f"malformed message: one frame expected, {len(body)}{or_more} came"
    return Message(route, None, problem, peer, sender)
