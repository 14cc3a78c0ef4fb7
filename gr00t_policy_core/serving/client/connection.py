# SPDX-License-Identifier: Apache-2.0
"""A client's connection to one server: requests and replies as bytes; reconnects when needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import zmq

from gr00t_policy_core.errors import (
    AddressError,
    ClosedError,
    PolicyError,
    PolicyTimeoutError,
    ProtocolError,
)
from gr00t_policy_core.serving.client.fork_safety import reset_in_forked_children
from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.transport.base import Channel
from gr00t_policy_core.serving.transport.curve_client import CurveChannel
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.transport.deadline import Deadline
from gr00t_policy_core.serving.transport.tcp_client import TcpChannel

NOT_LISTENING = "no server listens there"
RECONNECT_S = 0.05  # between attempts to connect, doubled each time
MAX_RECONNECT_S = 1.0

logger = logging.getLogger(__name__)


class ServerChangedError(Exception):
    """A request would reach another server than it was made for; it was not sent. Internal."""


class ConnectionPin:
    """Pins requests to one channel: the first that the pin is checked against.

    What a client has learnt from a server holds for the channel that it learnt it on; after a
    reconnection another server may be at the other end.
    """

    __slots__ = ("_channel",)

    def __init__(self) -> None:
        self._channel: Channel | None = None

    def check(self, channel: Channel) -> None:
        """Check that this is the pinned channel.

        Raises:
            ServerChangedError: It is another channel.
        """
        if self._channel is None:
            self._channel = channel
        elif self._channel is not channel:
            raise ServerChangedError


class RequestSender(Protocol):
    """Sends requests and returns replies: a `Connection`, or a failover between several."""

    @property
    def server(self) -> str:
        """The address of the server, for errors."""

    def exchange(
        self,
        endpoint: str,
        request: Sequence[Any],
        deadline: Deadline,
        pin: ConnectionPin | None = None,
    ) -> memoryview:
        """Send a request and wait for its reply.

        Args:
            endpoint: The name that errors give to the request.
            request: The encoded request, in parts that are not copied.
            deadline: When to give up; includes the time that other threads' requests take.
            pin: The channel that the request was made for; None takes any.

        Returns:
            The reply, in memory that nothing else writes to.

        Raises:
            PolicyTimeoutError: No reply in time, or the connection was lost before it arrived.
            ProtocolError: The bytes received are not a reply, or the reply is too large.
            AddressError: The host is not an address (with CURVE).
            ClosedError: `close` was called.
            ServerChangedError: The channel is not the pinned one; nothing was sent.
        """

    def close(self) -> None:
        """Disconnect."""


class Connection:
    """Sends requests to one server, one at a time; threads take turns. See `RequestSender`.

    It connects at the first request, and reconnects after every request that got no reply, so that
    a late reply is never mistaken for the reply to another request.

    Args:
        host: Name or address of the server, or ``ipc://`` and the path of its Unix socket.
        port: TCP port of the server; not used with a Unix socket.
        max_message_bytes: A server that announces a larger reply is disconnected.
        keys: Keys that encrypt the connection; None for plain text.
    """

    def __init__(
        self, host: str, port: int, *, max_message_bytes: int, keys: ClientKeys | None = None
    ) -> None:
        self.server = addresses.name(host, port)
        self._host = host
        self._port = port
        self._max_message_bytes = max_message_bytes
        self._keys = keys
        self._closed = threading.Event()
        self._lock = threading.Lock()  # whoever holds it may use the channel
        self._channel: Channel | None = None
        reset_in_forked_children(self)

    def exchange(
        self,
        endpoint: str,
        request: Sequence[Any],
        deadline: Deadline,
        pin: ConnectionPin | None = None,
    ) -> memoryview:
        """See `RequestSender`."""
        self._check_open(endpoint)
        if not self._lock.acquire(timeout=deadline.remaining_s):
            raise self._timeout(endpoint, deadline, "another thread's request is in progress")
        try:
            self._check_open(endpoint)
            channel = self._open_channel(endpoint, deadline)
            if pin is not None:
                pin.check(channel)
            reply = self._ask(channel, endpoint, request, deadline)
        except ServerChangedError:
            raise
        except BaseException as error:
            self._disconnect()
            if isinstance(error, ProtocolError):
                raise ProtocolError(f"{self.server} {endpoint}: {error}") from error
            if isinstance(error, zmq.ZMQError):
                raise PolicyError(f"{self.server} {endpoint}: {error}") from error
            raise
        finally:
            self._lock.release()
            if self._closed.is_set():
                self.close()  # if called in the meantime, it left the channel to this thread
        return reply

    def copy(self) -> Connection:
        """A new connection to the same server."""
        return Connection(
            self._host, self._port, max_message_bytes=self._max_message_bytes, keys=self._keys
        )

    def close(self) -> None:
        """Disconnect.

        A request that another thread has sent ends as it would have; one that waits for a server
        to listen ends at once.
        """
        self._closed.set()
        if self._lock.acquire(blocking=False):
            self._disconnect()
            self._lock.release()

    def reset_after_fork(self) -> None:
        """See `ForkAware`: the child connects again."""
        self._channel = None
        self._lock = threading.Lock()
        was_closed, self._closed = self._closed.is_set(), threading.Event()
        if was_closed:
            self._closed.set()

    def _ask(
        self, channel: Channel, endpoint: str, request: Sequence[Any], deadline: Deadline
    ) -> memoryview:
        try:
            return channel.ask(request, deadline)
        except TimeoutError as error:
            raise self._timeout(endpoint, deadline, str(error)) from None
        except (EOFError, OSError) as error:
            raise PolicyTimeoutError(
                f"{self.server} {endpoint}: no answer: the connection was lost ({error})"
            ) from None

    def _open_channel(self, endpoint: str, deadline: Deadline) -> Channel:
        """The current channel, or a new one where that is not open."""
        if self._channel is not None:
            try:
                if self._channel.is_open(deadline):
                    return self._channel
            except (OSError, ProtocolError):
                logger.debug("reconnecting to %s", self.server, exc_info=True)
            self._disconnect()
        self._channel = self._connect(endpoint, deadline)
        return self._channel

    def _connect(self, endpoint: str, deadline: Deadline) -> Channel:
        pause_s, why = RECONNECT_S, ""
        while True:
            try:
                return self._make_channel(deadline)
            except TimeoutError as error:
                # The deadline cut this attempt short: an earlier error says more about the cause.
                raise self._timeout(endpoint, deadline, why or str(error)) from None
            except (ConnectionRefusedError, FileNotFoundError):
                why = NOT_LISTENING
            except AddressError:
                raise
            except OSError as error:
                why = error.strerror or str(error)
            if not deadline.remaining_s:
                raise self._timeout(endpoint, deadline, why)
            # No signal shows that a server starts to listen; the event ends the wait on `close`.
            if self._closed.wait(min(pause_s, deadline.remaining_s)):
                raise self._closed_error(endpoint)
            pause_s = min(2 * pause_s, MAX_RECONNECT_S)

    def _make_channel(self, deadline: Deadline) -> Channel:
        if self._keys is None:
            return TcpChannel(
                self._host,
                self._port,
                max_message_bytes=self._max_message_bytes,
                deadline=deadline,
            )
        return CurveChannel(
            self._host,
            self._port,
            max_message_bytes=self._max_message_bytes,
            keys=self._keys,
            deadline=deadline,
        )

    def _disconnect(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _check_open(self, endpoint: str) -> None:
        if self._closed.is_set():
            raise self._closed_error(endpoint)

    def _closed_error(self, endpoint: str) -> ClosedError:
        return ClosedError(f"{self.server} {endpoint}: the client was closed")

    def _timeout(self, endpoint: str, deadline: Deadline, why: str) -> PolicyTimeoutError:
        return PolicyTimeoutError(
            f"{self.server} {endpoint}: no answer within {deadline.timeout_ms:.0f} ms ({why})"
        )
