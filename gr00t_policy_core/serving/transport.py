# SPDX-License-Identifier: Apache-2.0
"""The server's socket: a ZeroMQ ROUTER that no client can block, and a way to wake its thread."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

from gr00t_policy_core.errors import AddressError
from gr00t_policy_core.serving import addresses
from gr00t_policy_core.serving.addresses import is_ipc
from gr00t_policy_core.serving.curve import Gate, ServerKeys

logger = logging.getLogger(__name__)

MAX_FRAMES = 16  # of what a client sends at once; no more are kept
MAX_NAME_BYTES = 255  # of a socket, in ZeroMQ
LINGER_MS = 1000
COPIED_BYTES = 64 * 2**10  # of a reply: less is copied sooner than shared
CLOSE_S = 3 * LINGER_MS / 1000  # for libzmq to end, which waits for what lingers
_OPTIONS = {
    zmq.LINGER: LINGER_MS,
    # Per client: what waits beyond these stays in its own buffers, or is dropped on the way back.
    zmq.RCVHWM: 4,
    zmq.SNDHWM: 64,
    # Clients that vanish without a word are dropped within about a minute.
    zmq.HEARTBEAT_IVL: 15_000,
    zmq.HEARTBEAT_TIMEOUT: 60_000,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}

# As plain numbers: joining zmq's own flags at each message costs more than sending.
_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


@dataclass(frozen=True, slots=True)
class Message:
    """What one client sent.

    Args:
        route: The frames that lead a reply back to it; the first is the client's own.
        body: The request; None where `problem` says what came in its place.
        problem: Why there is no body.
        frame: One of its frames: libzmq knows where it came from.
    """

    route: list[bytes]
    body: memoryview | None
    problem: str
    frame: zmq.Frame

    @property
    def peer(self) -> str:
        """Its client's network address."""
        return _peer(self.frame)


class Router:
    """A listening ROUTER socket; REQ and DEALER clients, with any envelope, are understood.

    One thread waits and receives. Any thread may send: the socket changes hands under a lock,
    and nobody holds it while waiting (measured: a reply that its own thread sends arrives 0.1 ms
    sooner than one that is handed to the waiting thread).

    Args:
        host: ``"*"`` for every interface (IPv6 too where there is one), an address, the name of
            an interface or of this machine; or ``ipc://`` and a path, for a Unix socket.
        port: 0 picks a free one; not used with a Unix socket.
        max_message_bytes: A client that announces a larger frame is disconnected; a message
            whose frames are larger together is refused.
        keys: Encrypt, and admit only the clients that they list; None: plain text, for everyone.

    Raises:
        AddressError: It cannot listen there.
    """

    def __init__(
        self, host: str, port: int, *, max_message_bytes: int, keys: ServerKeys | None = None
    ) -> None:
        self._context = zmq.Context()
        self._max_message_bytes = max_message_bytes
        self._keys = keys
        self._gate = None if keys is None else Gate(self._context, keys)
        try:
            self._socket = self._bind(host, port, max_message_bytes)
        except BaseException:
            self._close_context()
            raise
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._turn = threading.Lock()  # whose holder may touch the socket
        self._incoming = zmq.Poller()
        self._incoming.register(self._socket, zmq.POLLIN)
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._poll.register(self._wake_out, select.POLLIN)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = 0 if is_ipc(host) else int(self.address.rpartition(":")[2])

    def _bind(self, host: str, port: int, max_message_bytes: int) -> zmq.Socket[bytes]:
        if is_ipc(host):
            _check_free(host)
        error: zmq.ZMQError | None = None
        for url, ipv6 in _places(host, port):
            listener = self._context.socket(zmq.ROUTER)
            for option, value in {**_OPTIONS, zmq.MAXMSGSIZE: max_message_bytes}.items():
                listener.setsockopt(option, value)
            listener.setsockopt(zmq.IPV6, int(ipv6))
            if self._keys is not None:
                self._keys.protect(listener)
            try:
                listener.bind(url)
            except zmq.ZMQError as raised:
                listener.close(linger=0)
                error = raised
                if raised.errno == zmq.EADDRINUSE:
                    break
            else:
                return listener
        where = addresses.name(host, port)
        if error is not None and error.errno == zmq.EADDRINUSE:
            raise AddressError(
                f"cannot listen on {where}: another program does already; stop it, or choose "
                "another port (0 picks a free one)"
            )
        raise AddressError(
            f"cannot listen on {where}: {error}; the host must be '*', an address of this machine, "
            "or ipc:// and a path whose folder is there"
        )

    def wake(self) -> None:
        """Make `wait` return; safe in any thread and in a signal handler."""
        try:
            self._wake_in.send(b"\0")
        except BlockingIOError:
            return  # so many wakes wait already that one more changes nothing
        except OSError:
            logger.debug("woken after it was closed")

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Within, a signal ends `wait`, so that its Python handler runs.

        Without, one that the kernel delivers to another thread, or just before the wait begins,
        is not handled until a message comes. In other threads than the main one it does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for a message or a `wake`; None waits for as long as it takes."""
        with self._turn:
            if self._has_message():
                return
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
        ready = dict(self._poll.poll(timeout_ms))
        if self._wake_out.fileno() in ready:
            self._wake_out.recv(4096)

    def receive(self) -> Message | None:
        """Take the next message that is there, if any."""
        with self._turn:
            try:
                client = self._socket.recv(_NOBLOCK)
            except zmq.Again:
                return None
            frames, size = self._frames()
        message = _message(client, frames, cut=len(frames) >= MAX_FRAMES)
        if max(map(len, message.route)) > MAX_NAME_BYTES:
            # Replies would carry it back, however many wait for one who never reads.
            logger.debug("%s names its way back in too many bytes; it gets no reply", message.peer)
            return None
        if size <= self._max_message_bytes:
            return message
        problem = f"malformed message: {size} bytes, at most {self._max_message_bytes} may come"
        return Message(message.route, None, problem, message.frame)

    def send(self, route: list[bytes], reply: bytes) -> None:
        """Send a reply; where the client is gone or does not read, it is dropped."""
        with self._turn:
            try:
                for part in route:
                    self._socket.send(part, _NOBLOCK_MORE)
                self._socket.send(reply, _NOBLOCK, copy=len(reply) < COPIED_BYTES)
            except zmq.ZMQError as error:
                logger.debug("a reply could not be sent: %s", error)
            if self._socket.closed:
                return
            # Sending may take the news of a message from the descriptor that `wait` looks at.
            unseen = self._has_message()
        if unseen:
            self.wake()

    def close(self) -> None:
        """Send what is on its way, for `LINGER_MS` at most, and close everything."""
        with self._turn:
            if is_ipc(self.address):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.address[len(addresses.IPC) :])  # libzmq leaves it there
            self._socket.close()
        self._close_context()
        self._wake_in.close()
        self._wake_out.close()

    def _has_message(self) -> bool:
        return bool(self._incoming.poll(0))

    def _frames(self) -> tuple[list[zmq.Frame], int]:
        """The frames that a client made of its message, and their bytes."""
        frames: list[zmq.Frame] = []
        size = 0
        more = True
        while more:
            frame = self._socket.recv(copy=False)
            more = frame.more
            size += len(frame)
            if len(frames) < MAX_FRAMES and size <= self._max_message_bytes:
                frames.append(frame)
        return frames, size

    def _close_context(self) -> None:
        """Wait for libzmq to end, but not for ever.

        Seen with libzmq 4.3.5: a context that saw many refused CURVE handshakes does not end in
        one of some 20 cases. Its threads are idle then, and go with the process.
        """
        ending = threading.Thread(target=self._end_context, name="gr00t-zmq-end", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            logger.warning("libzmq has not ended within %.0f s; it is left behind", CLOSE_S)

    def _end_context(self) -> None:
        if self._gate is not None:
            self._gate.close()
        self._context.term()


def _places(host: str, port: int) -> list[tuple[str, bool]]:
    """What to bind to, in order, and whether it is IPv6."""
    if is_ipc(host):
        return [(host, False)]
    return [(f"tcp://{interface}:{port}", ipv6) for interface, ipv6 in _interfaces(host)]


def _interfaces(host: str) -> list[tuple[str, bool]]:
    if host == "*":
        return [("*", True), ("*", False)]
    bare = host.strip("[]")
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except OSError:
        return [(host, False)]
    # IPv4 first: clients of Isaac-GR00T connect over it.
    by_family = sorted({(info[0] == socket.AF_INET6, str(info[4][0])) for info in found})
    return [(f"[{address}]" if ipv6 else address, ipv6) for ipv6, address in by_family]


def _check_free(host: str) -> None:
    """libzmq takes the socket of a running server away without a word."""
    path = host[len(addresses.IPC) :]
    problems = addresses.ipc_problems(host)
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        problems = [f"{path} is there already, and is no socket"]
    with socket.socket(socket.AF_UNIX) as probe:
        if not problems and probe.connect_ex(path) == 0:
            problems = ["another program does already; stop it, or choose another path"]
    if problems:
        raise AddressError(f"cannot listen on {host}: {problems[0]}")


def _message(client: bytes, frames: list[zmq.Frame], *, cut: bool) -> Message:
    """A message by its frames, behind the one that libzmq made: the client's own name."""
    ends = [index for index, frame in enumerate(frames) if not len(frame)]
    begin = ends[0] + 1 if ends else 0
    route = [client, *(frame.bytes for frame in frames[:begin])]
    body = frames[begin:]
    if len(body) == 1:
        return Message(route, body[0].buffer, "", frames[-1])
    problem = (
        "malformed message: it is empty"
        if not body
        else f"malformed message: one frame expected, {len(body)}{' or more' * cut} came"
    )
    return Message(route, None, problem, frames[-1])


def _peer(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "unknown address"
