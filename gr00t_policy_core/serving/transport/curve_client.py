# SPDX-License-Identifier: Apache-2.0
"""A client's channel with CURVE encryption: a REQ socket of libzmq."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from gr00t_policy_core.errors import AddressError, ProtocolError
from gr00t_policy_core.serving.transport import addresses, zmtp
from gr00t_policy_core.serving.transport.base import SERVER_BUSY, SERVER_SILENT, HandshakeError
from gr00t_policy_core.serving.transport.connecting import UNREACHABLE, connect_first, resolve
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.tcp_client import TcpChannel, ask_for_mechanism

NEVER_MS = 24 * 3600 * 1000
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class CurveChannel:
    """One encrypted connection to one server; see `Channel`. libzmq never reconnects it.

    So this client notices a restart of the server, as on a plain socket, and does not send a
    request for the old server to the new one.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: TCP port of the server; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: The client's own, and the server's public key.
        deadline: When to give up connecting.

    Raises:
        TimeoutError: The deadline passed; the text says how far the handshake came.
        HandshakeError: The server rejected this client.
        OSError: Nothing listens there.
        ProtocolError: The program that listens there does not speak ZeroMQ.
        AddressError: The host is not an address.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        keys: ClientKeys,
        deadline: Deadline,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        url = _url(host, port, deadline)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Not -1, with which libzmq drops a reply that arrives just before its server leaves. Nor
        # ZMQ_IMMEDIATE, for the same reason.
        self._socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        self._socket.setsockopt(zmq.IPV6, int(url.startswith("tcp://[")))
        self._monitor = self._socket.get_monitor_socket(_EVENTS)
        try:
            keys.protect(self._socket)
            self._socket.connect(url)
            self._await_handshake(deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, zmq.ZMQError):
                raise AddressError(f"not an address: {error}") from None
            if isinstance(error, _UnexplainedError):
                raise _explain_failure(host, port, deadline) from None
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def is_open(self, deadline: Deadline) -> bool:
        """See `Channel`."""
        return not self._monitor.poll(0)

    def ask(self, request: Sequence[Any], deadline: Deadline) -> memoryview:
        """See `Channel`.

        Raises:
            TimeoutError: The deadline passed.
            EOFError: The connection was lost.
            ProtocolError: The reply has several frames.
            zmq.ZMQError: libzmq failed in another way.
        """
        if not deadline.remaining_ms:
            raise TimeoutError("no time is left for the request")
        self._socket.send(b"".join(request), zmq.NOBLOCK, copy=False)
        ready = dict(self._poller.poll(deadline.remaining_ms))
        if not ready:
            raise TimeoutError(SERVER_BUSY)
        # A reply that arrived before the connection ended is there before the event is.
        if self._socket not in ready and not self._socket.poll(0):
            raise EOFError(
                f"it ended, or a reply of over {self._max_message_bytes} bytes was announced"
            )
        frame = self._socket.recv(copy=False)
        if frame.more:
            raise ProtocolError("a reply of several frames")
        return frame.buffer

    def close(self) -> None:
        """See `Channel`."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def _await_handshake(self, deadline: Deadline) -> None:
        is_connected = False
        while self._monitor.poll(deadline.remaining_ms):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise HandshakeError(
                    "the server rejected this client: its key is not among those that the server "
                    "admits"
                )
            if event == zmq.EVENT_CLOSED:
                raise ConnectionRefusedError("refused")
            if event == zmq.EVENT_CONNECTED:
                is_connected = True
            else:
                raise _UnexplainedError
        raise TimeoutError(SERVER_SILENT if is_connected else UNREACHABLE)


class _UnexplainedError(Exception):
    """The server ended a handshake without a reason."""


def _explain_failure(host: str, port: int, deadline: Deadline) -> Exception:
    """Explain why a server ended a CURVE handshake, from its answer to a client without keys."""
    try:
        if ask_for_mechanism(host, port, deadline) == zmtp.CURVE:
            return HandshakeError(
                "the server rejected this client: server_key is not the key of this server"
            )
        TcpChannel(host, port, max_message_bytes=0, deadline=deadline).close()
    except (OSError, ProtocolError) as error:  # TimeoutError, too
        return error
    return HandshakeError("the server is not secured: this client must not be given keys")


def _url(host: str, port: int, deadline: Deadline) -> str:
    """What libzmq connects to: one address, the first that accepts where there are several."""
    if addresses.is_ipc(host):
        return addresses.url(host, port)
    found = resolve(host, port, deadline)
    if len(found) != 1:
        with connect_first(found, deadline) as reachable:
            sockaddr = reachable.getpeername()
    else:
        sockaddr = found[0].sockaddr
    numeric, _ = socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return addresses.url(numeric, port)
