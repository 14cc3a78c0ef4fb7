# SPDX-License-Identifier: Apache-2.0
"""The transport of a secured server: a ROUTER of libzmq, which encrypts."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Sequence

import zmq

from gr00t_policy_core.serving.transport import addresses, descriptors
from gr00t_policy_core.serving.transport import bind_addresses as listening
from gr00t_policy_core.serving.transport.addresses import is_ipc
from gr00t_policy_core.serving.transport.base import (
    LINGER_S,
    MAX_FRAMES,
    Deliver,
    Ended,
    Message,
    Sender,
    Waker,
    make_message,
)
from gr00t_policy_core.serving.transport.curve_admission import Gate, Refused
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys
from gr00t_policy_core.serving.transport.curve_monitor import Departures

logger = logging.getLogger(__name__)

LINGER_MS = int(LINGER_S * 1000)
DESCRIPTORS = 1024  # of clients
MESSAGES_AT_ONCE = 1000  # of connections that have ended, before others are looked at
COPIED_BYTES = 64 * 2**10  # of a reply: less is copied sooner than shared
CLOSE_S = 3 * LINGER_S  # for libzmq to end, which waits for what lingers
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


class Router:
    """A listening ROUTER socket that no client can block; see `Transport`.

    One thread waits and receives. Any thread may send: the socket changes hands under a lock,
    and nobody holds it while waiting (measured: a reply that its own thread sends arrives 0.1 ms
    sooner than one that is handed to the waiting thread).

    Args:
        host: ``"*"`` for every interface (IPv6 too where there is one), an address, the name of
            an interface or of this machine; or ``ipc://`` and a path, for a Unix socket.
        port: 0 picks a free one; not used with a Unix socket.
        max_message_bytes: A client that announces a larger frame is disconnected; a message
            whose frames are larger together is refused.
        keys: Encrypt, and admit only the clients that they list.
        refused: Told of the address of each client that is not let in, and why.
        ended: Told of each connection that has ended, in the thread that waits.

    Raises:
        AddressError: It cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        keys: ServerKeys,
        refused: Refused,
        ended: Ended,
    ) -> None:
        self._told_ended = ended
        self._context = zmq.Context()
        self._max_message_bytes = max_message_bytes
        self._keys = keys
        self._gate = Gate(self._context, keys, refused)
        try:
            self._socket = self._bind(host, port, max_message_bytes)
            self._departures = Departures(self._socket, self._gate.tell_failed)
        except BaseException:
            self._close_context()
            raise
        descriptors.spare(DESCRIPTORS)
        self._waker = Waker()
        self.wake = self._waker.wake
        self.woken_by_signals = self._waker.woken_by_signals
        self._turn = threading.Lock()  # whose holder may touch the socket
        self._incoming = zmq.Poller()
        self._incoming.register(self._socket, zmq.POLLIN)
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._poll.register(self._waker.out, select.POLLIN)
        self._poll.register(self._departures.descriptor, select.POLLIN)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._path = host[len(addresses.IPC) :] if is_ipc(host) else None
        self._file = (0, 0) if self._path is None else listening.file_id(self._path)
        self.port = 0 if is_ipc(host) else int(self.address.rpartition(":")[2])

    def _bind(self, host: str, port: int, max_message_bytes: int) -> zmq.Socket[bytes]:
        if is_ipc(host):
            listening.check_free(host)
        error: zmq.ZMQError | None = None
        for url, ipv6 in _places(host, port):
            listener = self._context.socket(zmq.ROUTER)
            for option, value in {**_OPTIONS, zmq.MAXMSGSIZE: max_message_bytes}.items():
                listener.setsockopt(option, value)
            listener.setsockopt(zmq.IPV6, int(ipv6))
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
        raise listening.refused(host, port, error)

    def turn(self, timeout_s: float | None, deliver: Deliver) -> None:
        """See `Transport`."""
        self._wait(timeout_s)
        has_lost_some = self._departures.begin()
        for _ in range(MESSAGES_AT_ONCE if has_lost_some else 1):
            message = self._receive()
            if message is None:
                break
            deliver(message)
        for sender in self._departures.settle() if has_lost_some else ():
            self._forget(sender)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """See `Transport`."""
        with self._turn:
            try:
                for part in route:
                    self._socket.send(part, _NOBLOCK_MORE)
                self._socket.send(reply, _NOBLOCK, copy=len(reply) < COPIED_BYTES)
            except zmq.ZMQError as error:
                logger.debug("a reply could not be sent: %s", error)
            if self._socket.closed:
                return
            # Sending may take the news of a message from the descriptor that `turn` looks at.
            unseen = self._has_message()
        if unseen:
            self.wake()

    def close(self) -> None:
        """See `Transport`."""
        with self._turn:
            self._departures.close()
            if self._path is not None:
                listening.remove(self._path, self._file)  # libzmq leaves it there
            self._socket.close()
        self._close_context()
        self._waker.close()

    def _wait(self, timeout_s: float | None) -> None:
        with self._turn:
            if self._has_message():
                return
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
        ready = dict(self._poll.poll(timeout_ms))
        if self._waker.out.fileno() in ready:
            self._waker.rest()

    def _receive(self) -> Message | None:
        """Take the next message that is there, if any."""
        with self._turn:
            try:
                client = self._socket.recv(_NOBLOCK)
            except zmq.Again:
                return None
            frames, size = self._frames()
        peer = _peer(frames[-1])
        sender, before = self._departures.sender(frames[-1], client, peer)
        if before is not None:
            self._forget(before)
        buffers = [frame.buffer for frame in frames]
        return make_message(
            client, buffers, size, peer, limit=self._max_message_bytes, sender=sender
        )

    def _forget(self, sender: Sender) -> None:
        sender.gone = True
        self._told_ended(sender)

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
            if not frames or (len(frames) < MAX_FRAMES and size <= self._max_message_bytes):
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
        self._gate.close()
        self._context.term()


def _places(host: str, port: int) -> list[tuple[str, bool]]:
    """What to bind to, in order, and whether it is IPv6."""
    if is_ipc(host):
        return [(host, False)]
    return [
        (f"tcp://{addresses.name(interface, port)}", ipv6)
        for interface, ipv6 in listening.interfaces(host)
    ]


def _peer(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "unknown address"
