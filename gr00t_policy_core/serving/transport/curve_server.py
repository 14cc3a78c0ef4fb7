# SPDX-License-Identifier: Apache-2.0
"""A server's transport with CURVE encryption: a ROUTER socket of libzmq."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Sequence

import zmq

from gr00t_policy_core.serving.transport import addresses, bind_addresses, file_descriptors
from gr00t_policy_core.serving.transport.addresses import is_ipc
from gr00t_policy_core.serving.transport.base import (
    LINGER_S,
    MAX_FRAMES,
    Message,
    OnDisconnect,
    OnMessage,
    OnReject,
    Sender,
    Waker,
    make_message,
)
from gr00t_policy_core.serving.transport.bind_addresses import IpcSocketFile
from gr00t_policy_core.serving.transport.curve_authenticator import CurveAuthenticator
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys
from gr00t_policy_core.serving.transport.curve_monitor import ConnectionMonitor

logger = logging.getLogger(__name__)

LINGER_MS = int(LINGER_S * 1000)
MAX_CONNECTIONS = 1024  # that file descriptors are reserved for
MAX_LEFT_MESSAGES = 1000  # received from connections that have ended, before others are served
COPIED_BYTES = 64 * 2**10  # a reply up to this size is faster to copy than to share with libzmq
CLOSE_S = 3 * LINGER_S  # for libzmq to end, which waits for what lingers
_OPTIONS = {
    zmq.LINGER: LINGER_MS,
    # Per client: further requests stay in the client's own buffers, further replies are dropped.
    zmq.RCVHWM: 4,
    zmq.SNDHWM: 64,
    # Clients that vanish are disconnected within about a minute.
    zmq.HEARTBEAT_IVL: 15_000,
    zmq.HEARTBEAT_TIMEOUT: 60_000,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}

# As plain integers: to combine the enum flags of zmq for each message costs more than to send it.
_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


class CurveTransport:
    """A listening ROUTER socket that no client can block; see `Transport`.

    One thread waits and receives. Any thread can send: a lock guards the socket, and no thread
    waits while it holds the lock (measured: a reply that its own thread sends arrives 0.1 ms
    sooner than one that the waiting thread sends for it).

    Args:
        host: ``"*"`` for every interface (IPv6 too where there is one), an address, the name of
            an interface or of this machine; or ``ipc://`` and a path, for a Unix socket.
        port: 0 picks a free one; not used with a Unix socket.
        max_message_bytes: A client that announces a larger frame is disconnected; a message whose
            frames are larger together is refused.
        keys: The server's own, and those of the clients that are admitted.
        on_reject: Called with the address of each client that is rejected, and why.
        on_disconnect: Called with each connection that has ended, in the thread that waits.

    Raises:
        AddressError: The server cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        keys: ServerKeys,
        on_reject: OnReject,
        on_disconnect: OnDisconnect,
    ) -> None:
        self._on_disconnect = on_disconnect
        self._max_message_bytes = max_message_bytes
        self._context = zmq.Context()
        self._authenticator = CurveAuthenticator(self._context, keys, on_reject)
        try:
            self._socket = _bind(self._context, host, port, max_message_bytes, keys)
            self._monitor = ConnectionMonitor(
                self._socket, self._authenticator.report_failed_handshake
            )
        except BaseException:
            self._close_context()
            raise
        file_descriptors.reserve(MAX_CONNECTIONS)
        self._waker = Waker()
        self.wake = self._waker.wake
        self.wake_on_signals = self._waker.wake_on_signals
        self._lock = threading.Lock()  # whoever holds it may use the socket
        self._incoming = zmq.Poller()
        self._incoming.register(self._socket, zmq.POLLIN)
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._poll.register(self._waker.readable, select.POLLIN)
        self._poll.register(self._monitor.descriptor, select.POLLIN)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = 0 if is_ipc(host) else int(self.address.rpartition(":")[2])
        self._ipc_file = IpcSocketFile(host) if is_ipc(host) else None

    def run_once(self, timeout_s: float | None, on_message: OnMessage) -> None:
        """See `Transport`."""
        self._wait(timeout_s)
        has_disconnections = self._monitor.has_disconnections()
        for _ in range(MAX_LEFT_MESSAGES if has_disconnections else 1):
            message = self._receive()
            if message is None:
                break
            on_message(message)
        for sender in self._monitor.take_disconnected() if has_disconnections else ():
            self._report_disconnected(sender)

    def send(self, route: Sequence[bytes], reply: bytes) -> None:
        """See `Transport`."""
        with self._lock:
            try:
                for part in route:
                    self._socket.send(part, _NOBLOCK_MORE)
                self._socket.send(reply, _NOBLOCK, copy=len(reply) < COPIED_BYTES)
            except zmq.ZMQError as error:
                logger.debug("a reply could not be sent: %s", error)
            if self._socket.closed:
                return
            # Sending can clear the descriptor that `run_once` polls although a message waits.
            has_message = self._has_message()
        if has_message:
            self.wake()

    def close(self) -> None:
        """See `Transport`."""
        with self._lock:
            self._monitor.close()
            if self._ipc_file is not None:
                self._ipc_file.remove()  # libzmq does not
            self._socket.close()
        self._close_context()
        self._waker.close()

    def _wait(self, timeout_s: float | None) -> None:
        with self._lock:
            if self._has_message():
                return
        timeout_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
        ready = dict(self._poll.poll(timeout_ms))
        if self._waker.readable.fileno() in ready:
            self._waker.drain()

    def _receive(self) -> Message | None:
        """Receive the next message; None if there is none."""
        with self._lock:
            try:
                name = self._socket.recv(_NOBLOCK)
            except zmq.Again:
                return None
            frames, size = self._receive_frames()
        peer = _peer(frames[-1])
        sender, predecessor = self._monitor.identify(frames[-1], name, peer)
        if predecessor is not None:
            self._report_disconnected(predecessor)
        buffers = [frame.buffer for frame in frames]
        return make_message(
            name, buffers, size, peer, max_bytes=self._max_message_bytes, sender=sender
        )

    def _report_disconnected(self, sender: Sender) -> None:
        sender.disconnected = True
        self._on_disconnect(sender)

    def _has_message(self) -> bool:
        return bool(self._incoming.poll(0))

    def _receive_frames(self) -> tuple[list[zmq.Frame], int]:
        """The first frames of a message, and the bytes of all its frames."""
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
        """Wait for libzmq to end, for a limited time.

        Seen with libzmq 4.3.5: in one of about 20 cases a context that saw many refused CURVE
        handshakes does not end. Its threads are idle then, and end with the process.
        """
        closing = threading.Thread(target=self._terminate, name="gr00t-zmq-end", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            logger.warning("libzmq has not ended within %.0f s; it is abandoned", CLOSE_S)

    def _terminate(self) -> None:
        self._authenticator.close()
        self._context.term()


def _bind(
    context: zmq.Context[zmq.Socket[bytes]],
    host: str,
    port: int,
    max_message_bytes: int,
    keys: ServerKeys,
) -> zmq.Socket[bytes]:
    if is_ipc(host):
        bind_addresses.check_ipc_is_free(host)
    error: zmq.ZMQError | None = None
    for url, ipv6 in _bind_urls(host, port):
        listener = context.socket(zmq.ROUTER)
        for option, value in {**_OPTIONS, zmq.MAXMSGSIZE: max_message_bytes}.items():
            listener.setsockopt(option, value)
        listener.setsockopt(zmq.IPV6, int(ipv6))
        keys.protect(listener)
        try:
            listener.bind(url)
        except zmq.ZMQError as raised:
            listener.close(linger=0)
            error = raised
            if raised.errno == zmq.EADDRINUSE:
                break
        else:
            return listener
    raise bind_addresses.bind_error(host, port, error)


def _bind_urls(host: str, port: int) -> list[tuple[str, bool]]:
    """The URLs to try to bind, in order, and whether each is IPv6."""
    if is_ipc(host):
        return [(host, False)]
    return [
        (f"tcp://{addresses.name(interface, port)}", ipv6)
        for interface, ipv6 in bind_addresses.bind_candidates(host)
    ]


def _peer(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return "unknown address"
